//! The files and roles of a pooler that has a secret in every place that can hold one.

use tokio_postgres::{Client, SimpleQueryMessage};

use crate::canary::Canaries;
use crate::support::Postgres;
use crate::support::pooler::Place;
use crate::support::postgres::{APP, APP_PASSWORD, SUPERUSER, SUPERUSER_PASSWORD};

/// Passwords that are right.
#[derive(Clone, Debug)]
pub struct Passwords {
    pub plain: String,
    pub typed: String,
    pub looked_up: String,
}

/// Makes the roles of these passwords, and what auth_query reads.
pub fn create_roles(postgres: &Postgres, passwords: &Passwords, forced: &str) {
    let roles = [
        ("plain", passwords.plain.as_str()),
        ("typed", &passwords.typed),
        ("looked", &passwords.looked_up),
        ("forced", forced),
    ];
    for (name, password) in roles {
        postgres.psql(APP, &format!("CREATE ROLE {name} LOGIN PASSWORD '{password}'"));
    }
    let sql = format!(
        "CREATE TABLE secrets (name text, secret text); GRANT SELECT ON secrets TO {APP}; \
         INSERT INTO secrets VALUES ('looked', '{}')",
        passwords.looked_up
    );
    postgres.psql(APP, &sql);
}

/// The user list: a secret of each form.
pub fn userlist(canaries: &mut Canaries, passwords: &Passwords) -> String {
    canaries.known("the administrator's password", SUPERUSER_PASSWORD);
    canaries.known("a plain secret of a server's user", APP_PASSWORD);
    let digest: String = canaries.noise(16).iter().map(|byte| format!("{byte:02x}")).collect();
    canaries.known("an MD5 digest of the user list", &digest);
    // Which bytes the keys have matters to nobody who does not know the password.
    let [stored, server] = [key_text(canaries), key_text(canaries)];
    canaries.known("a stored key of the user list", &stored);
    canaries.known("a server key of the user list", &server);
    format!(
        "\"{APP}\" \"{APP_PASSWORD}\"\n\"{SUPERUSER}\" \"{SUPERUSER_PASSWORD}\"\n\
         \"plain\" \"{}\"\n\"typed\" \"{}\"\n\"digested\" \"md5{digest}\"\n\
         \"derived\" \"SCRAM-SHA-256$4096:AAAAAAAAAAAAAAAAAAAAAA==${stored}:{server}\"\n",
        passwords.plain, passwords.typed
    )
}

/// A certificate and its key, each line of which is a secret.
pub fn key_pair(canaries: &mut Canaries) -> (String, String) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    let key = made.signing_key.serialize_pem();
    for line in key.lines().filter(|line| !line.starts_with('-')) {
        canaries.known("a line of the TLS key", line);
    }
    (made.cert.pem(), key)
}

/// The entries of `[databases]`, right and wrong.
pub fn databases(canaries: &mut Canaries, port: u16, forced: &str) -> String {
    let mut secret = |place| canaries.secret(place);
    let [wrong, in_url, in_query, connect] = [
        secret("a wrong password of an entry"),
        secret("a wrong password in the URL of an entry"),
        secret("a wrong password in the query of a URL"),
        secret("a literal of connect_query"),
    ];
    let [in_url, in_query] =
        [in_url, in_query].map(|text| text.replace('/', "%2F").replace('+', "%2B"));
    let server = format!("host=127.0.0.1 port={port} dbname={APP}");
    format!(
        "plain = {server}\ntrusted = {server}\nforced = {server} user=forced password={forced}\n\
         looked = {server} auth_user={APP} \
         auth_query='SELECT name, secret FROM secrets WHERE name = $1'\n\
         greeted = {server} connect_query='SELECT ''{connect}'''\n\
         wrong = {server} user=forced password='{wrong}'\n\
         wrong_url = postgres://forced:{in_url}@127.0.0.1:{port}/{APP}\n\
         wrong_query = postgres://forced@127.0.0.1:{port}/{APP}?password={in_query}\n\
         environed = {server} user=forced\nfiled = {server} user=forced\n"
    )
}

/// One user types its password, one needs none, all others prove theirs.
pub fn hba() -> String {
    format!(
        "local trusted {APP} trust\nhost all typed 127.0.0.1/32 password\n\
         host all all 127.0.0.1/32 scram-sha-256\nlocal all all scram-sha-256\n"
    )
}

/// The whole file, with a log that says all it can.
pub fn ini(place: &Place, databases: &str) -> String {
    format!(
        "[databases]\n{databases}\n[http]\nlisten = 127.0.0.1:{http}\n\
         [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
         unix_socket_dir = {folder}\nauth_type = hba\nauth_hba_file = {folder}/hba.conf\n\
         auth_file = {folder}/userlist.txt\nadmin_users = {SUPERUSER}\nverbose = 3\n\
         pool_mode = transaction\nclient_tls_sslmode = allow\n\
         client_tls_cert_file = {folder}/server.crt\nclient_tls_key_file = {folder}/server.key\n",
        http = place.http_port,
        port = place.port,
        folder = place.directory.display(),
    )
}

/// Returns all that the console answers, names of columns included, or why it does not.
pub async fn shown(console: &Client, command: &str) -> String {
    let mut text = String::new();
    let answer = match console.simple_query(command).await {
        Ok(answer) => answer,
        Err(error) => return format!("{error:?}"),
    };
    for message in answer {
        match message {
            SimpleQueryMessage::RowDescription(columns) => {
                columns.iter().for_each(|column| text.extend([column.name(), "|"]));
            }
            SimpleQueryMessage::Row(row) => {
                text.push('\n');
                (0..row.len()).for_each(|n| text.extend([row.get(n).unwrap_or(""), "|"]));
            }
            _ => {}
        }
    }
    text
}

/// Returns 32 bytes in base64, the last of which is zero, so that the last digit is.
fn key_text(canaries: &mut Canaries) -> String {
    let key = canaries.noise(31);
    let digits = crate::canary::base64(&[&key[..], &[0, 0]].concat(), 0);
    format!("{}=", &digits[..43])
}
