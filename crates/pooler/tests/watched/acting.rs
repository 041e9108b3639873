//! Actions by HTTP reach the pools, and only with the token.

use crate::stage::{act, ask, client, read, start, until};
use crate::support::{Pooler, Postgres};

#[tokio::test]
async fn what_is_asked_for_is_done_and_logged() {
    let postgres = Postgres::start();
    let mut pooler = start(&postgres, 3, "");
    let http = pooler.http();
    let one = client(&pooler, "one").await;
    one.simple_query("SELECT 1").await.expect("served");

    assert_eq!(act(http, "resize", "{\"database\":\"app\",\"size\":7}").0, 200);
    let size = || read(http, "/api/v1/pools").1["pools"][0]["size_max"].clone();
    until("the new size", || (size() == 7).then_some(())).await;
    let (_, config) = read(http, "/api/v1/config");
    let settings = config["settings"].as_array().expect("settings");
    let resized =
        settings.iter().find(|s| s["section"] == "databases.*" && s["key"] == "pool_size");
    assert_eq!(resized.expect("it is shown")["origin"], "console");
    let token = settings.iter().find(|s| s["section"] == "http" && s["key"] == "token");
    let token = token.expect("it is shown");
    assert_eq!(
        (&token["value"], &token["origin"]),
        (&"***".into(), &"environment HEADPOND_HTTP__TOKEN".into())
    );

    assert_eq!(act(http, "pause", "{\"database\":\"app\"}").0, 200);
    let held = tokio::spawn(async move {
        one.simple_query("SELECT 1").await.expect("it goes on after the pause");
        one
    });
    until("somebody who waits", || {
        let (_, waits) = read(http, "/api/v1/waits");
        (waits["waits"][0]["reason"] == "paused").then_some(())
    })
    .await;
    assert_eq!(act(http, "resume", "{\"database\":\"app\"}").0, 200);
    let one = held.await.expect("no panic");
    assert_eq!(act(http, "resume", "").0, 409, "nothing is paused");

    one.simple_query("BEGIN").await.expect("served");
    let victim = client(&pooler, "victim").await;
    victim.simple_query("BEGIN").await.expect("served");
    let (_, clients) = read(http, "/api/v1/clients?q=victim");
    assert_eq!(clients["found"], 1, "{clients}");
    let id = clients["clients"][0]["id"].clone();
    assert_eq!(act(http, "kill", &format!("{{\"client\":{id}}}")).0, 200);
    assert!(victim.simple_query("SELECT 1").await.is_err(), "it was closed");
    one.simple_query("COMMIT").await.expect("and nobody else");
    assert_eq!(act(http, "kill", "{\"client\":999999}").0, 409);

    assert_eq!(act(http, "reload", "").0, 200);
    until("the size of the file", || (size() == 3).then_some(())).await;
    assert_eq!(act(http, "reconnect", "").0, 200);

    let foreign = "Authorization: Bearer token-of-a-test\r\nX-Headpond-Action: 1\r\n\
                   Origin: https://evil.example\r\n";
    assert_eq!(ask(http, "POST", "/api/v1/actions/drain", foreign, "").0, 403);
    assert_eq!(ask(http, "POST", "/api/v1/actions/drain", "", "").0, 403);
    one.simple_query("SELECT 1").await.expect("nothing was drained");
    let logged = |line: &str| line.contains("http: kill asked for by 127.0.0.1");
    assert!(pooler.log().wait_for(logged), "who did what is in the log");

    assert_eq!(act(http, "drain", "").0, 200);
    until("readiness to fail", || (read(http, "/readyz").0 == 503).then_some(())).await;
    drop((one, victim));
    // Elsewhere, so that the clients' farewells can leave.
    let ended = tokio::task::spawn_blocking(move || pooler.wait()).await;
    assert_eq!(ended.expect("no panic"), Some(0));
}
