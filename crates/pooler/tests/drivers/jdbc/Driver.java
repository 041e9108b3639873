// pgjdbc: server-side prepared statements, batches, autosave, cursors, COPY, cancels.
//
// Run as a single file with the driver's jar on the class path. Connects as the usual PG*
// variables say; DRIVER_SERVERS is the number of servers behind the pooler, absent when the
// driver talks to PostgreSQL itself.

import java.io.StringReader;
import java.io.StringWriter;
import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyManager;

public class Driver {
    static final int CLIENTS = 8;
    static final String T = "t_jdbc_" + ProcessHandle.current().pid();
    static final int SERVERS = Integer.parseInt(System.getenv().getOrDefault("DRIVER_SERVERS", "0"));
    static final List<Connection> clients = new ArrayList<>();
    static final Map<Integer, Set<Integer>> pids = new ConcurrentHashMap<>();
    static int steps = 0;

    interface Step {
        void run() throws Exception;
    }

    interface Work {
        void run(int number, Connection client) throws Exception;
    }

    public static void main(String[] arguments) throws Exception {
        step("clients connect", Driver::connectAll);
        step("values survive", Driver::valuesSurvive);
        step("same names mean different statements", Driver::sameNames);
        step("same statement on all clients at once", Driver::sameStatement);
        step("statements are closed when there are too many", Driver::manyStatements);
        step("transactions commit and roll back", Driver::transactions);
        step("batches are rewritten and counted", Driver::batches);
        step("a batch fails as a whole", Driver::failingBatch);
        step("autosave keeps a transaction alive", Driver::autosave);
        step("a cursor lives as long as its transaction", Driver::cursor);
        step("errors leave the client usable", Driver::errors);
        step("a failed transaction ignores commands until its end", Driver::failedTransaction);
        step("generated keys come back", Driver::generatedKeys);
        step("metadata is looked up", Driver::metadata);
        step("own settings follow their client", Driver::settings);
        step("copy goes both ways", Driver::copy);
        step("a timeout cancels the query it is meant for", Driver::timeout);
        step("large values pass", Driver::largeValues);
        step("servers were shared", Driver::sharing);
        step("clients leave", Driver::leave);
        System.out.println("PASS " + steps + " steps");
        System.exit(0);
    }

    static void step(String name, Step step) {
        try {
            step.run();
        } catch (Throwable error) {
            error.printStackTrace();
            System.out.println("not ok " + name);
            System.exit(1);
        }
        steps++;
        System.out.println("ok " + name);
    }

    static Connection connect(String... extra) throws SQLException {
        Map<String, String> env = System.getenv();
        Properties properties = new Properties();
        properties.setProperty("user", env.get("PGUSER"));
        properties.setProperty("password", env.get("PGPASSWORD"));
        properties.setProperty("sslmode", env.getOrDefault("PGSSLMODE", "disable"));
        if (env.containsKey("PGSSLROOTCERT")) {
            properties.setProperty("sslrootcert", env.get("PGSSLROOTCERT"));
        }
        // Every statement is prepared on the server at its first use.
        properties.setProperty("prepareThreshold", "1");
        properties.setProperty("loginTimeout", "30");
        properties.setProperty("socketTimeout", "60");
        for (int n = 0; n < extra.length; n += 2) {
            properties.setProperty(extra[n], extra[n + 1]);
        }
        String url = "jdbc:postgresql://" + env.get("PGHOST") + ":" + env.get("PGPORT") + "/"
            + env.get("PGDATABASE");
        return DriverManager.getConnection(url, properties);
    }

    static void onEveryClient(Work work) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(CLIENTS);
        List<Future<Void>> running = new ArrayList<>();
        for (int n = 0; n < clients.size(); n++) {
            final int number = n;
            running.add(threads.submit((Callable<Void>) () -> {
                work.run(number, clients.get(number));
                return null;
            }));
        }
        for (Future<Void> future : running) {
            future.get(100, TimeUnit.SECONDS);
        }
        threads.shutdown();
    }

    static void check(boolean condition, Object what) {
        if (!condition) {
            throw new AssertionError(String.valueOf(what));
        }
    }

    static void equal(Object left, Object right) {
        check(left == null ? right == null : left.equals(right), left + " is not " + right);
    }

    static void fails(String state, Step step) throws Exception {
        try {
            step.run();
        } catch (SQLException error) {
            check(state.equals(error.getSQLState()), error.getSQLState() + ": " + error);
            return;
        }
        throw new AssertionError("no error " + state);
    }

    static void run(Connection client, String sql) throws SQLException {
        try (Statement statement = client.createStatement()) {
            statement.execute(sql);
        }
    }

    static String text(Connection client, String sql) throws SQLException {
        try (Statement statement = client.createStatement();
             ResultSet rows = statement.executeQuery(sql)) {
            rows.next();
            return rows.getString(1);
        }
    }

    static void seen(int number, int pid) {
        pids.computeIfAbsent(number, key -> ConcurrentHashMap.newKeySet()).add(pid);
    }

    static void connectAll() throws Exception {
        for (int n = 0; n < CLIENTS; n++) {
            clients.add(connect("ApplicationName", "jdbc " + n));
            seen(n, Integer.parseInt(text(clients.get(n), "select pg_backend_pid()")));
        }
    }

    static void valuesSurvive() throws Exception {
        String sql = "select ?::int8, ?::text, ?::bytea, ?::text, ?::bool, ?::numeric, ?::int4[]";
        onEveryClient((number, client) -> {
            try (PreparedStatement statement = client.prepareStatement(sql)) {
                for (int turn = 0; turn < 3; turn++) {
                    statement.setLong(1, -(1L << 62));
                    statement.setString(2, "it's \\ \u00e4 \ud83d\udc18");
                    statement.setBytes(3, new byte[] {0, -1, 1});
                    statement.setString(4, null);
                    statement.setBoolean(5, true);
                    statement.setBigDecimal(6, new BigDecimal("-1234.50"));
                    statement.setArray(7, client.createArrayOf("int4", new Integer[] {1, null, 3}));
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        equal(row.getLong(1), -(1L << 62));
                        equal(row.getString(2), "it's \\ \u00e4 \ud83d\udc18");
                        check(Arrays.equals(row.getBytes(3), new byte[] {0, -1, 1}), "bytea");
                        equal(row.getString(4), null);
                        equal(row.getBoolean(5), true);
                        equal(row.getBigDecimal(6), new BigDecimal("-1234.50"));
                        Integer[] array = (Integer[]) row.getArray(7).getArray();
                        check(Arrays.equals(array, new Integer[] {1, null, 3}), "array");
                    }
                }
            }
        });
    }

    /** Every client calls its statements S_1, S_2, … and means its own. */
    static void sameNames() throws Exception {
        List<PreparedStatement> statements = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            String sql = "select ?::int4 * " + (n + 1) + ", " + n + ", pg_backend_pid()";
            statements.add(clients.get(n).prepareStatement(sql));
        }
        for (int turn = 0; turn < 30; turn++) {
            for (int n = 0; n < CLIENTS; n++) {
                statements.get(n).setInt(1, turn);
                try (ResultSet row = statements.get(n).executeQuery()) {
                    row.next();
                    equal(row.getInt(1), turn * (n + 1));
                    equal(row.getInt(2), n);
                    seen(n, row.getInt(3));
                }
            }
        }
        for (PreparedStatement statement : statements) {
            statement.close();
        }
    }

    static void sameStatement() throws Exception {
        onEveryClient((number, client) -> {
            try (PreparedStatement statement =
                     client.prepareStatement("select ?::text, pg_backend_pid()")) {
                for (int turn = 0; turn < 200; turn++) {
                    String tag = number + "/" + turn;
                    statement.setString(1, tag);
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        equal(row.getString(1), tag);
                        seen(number, row.getInt(2));
                    }
                }
            }
        });
    }

    static void manyStatements() throws Exception {
        List<Connection> own = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            own.add(connect("preparedStatementCacheQueries", "3"));
        }
        for (int turn = 0; turn < 40; turn++) {
            for (int n = 0; n < CLIENTS; n++) {
                int kind = (turn * 7 + n) % 11;
                try (PreparedStatement statement =
                         own.get(n).prepareStatement("select " + kind + ", ?::int4")) {
                    statement.setInt(1, turn);
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        equal(row.getInt(1), kind);
                        equal(row.getInt(2), turn);
                    }
                }
            }
        }
        for (Connection client : own) {
            client.close();
        }
    }

    static void transactions() throws Exception {
        run(clients.get(0), "create table " + T + " (id serial primary key, who int, body text)");
        onEveryClient((number, client) -> {
            client.setAutoCommit(false);
            try (PreparedStatement insert =
                     client.prepareStatement("insert into " + T + " (who) values (?)");
                 PreparedStatement delete =
                     client.prepareStatement("delete from " + T + " where who = ?")) {
                for (int turn = 0; turn < 10; turn++) {
                    insert.setInt(1, number);
                    equal(insert.executeUpdate(), 1);
                    Savepoint savepoint = client.setSavepoint();
                    delete.setInt(1, number);
                    delete.executeUpdate();
                    client.rollback(savepoint);
                    if (turn % 2 == 0) {
                        client.commit();
                    } else {
                        client.rollback();
                    }
                }
            }
            client.setAutoCommit(true);
        });
        String sql = "select string_agg(n::text, ',') from (select count(*) n from " + T
            + " group by who) x";
        equal(text(clients.get(1), sql), "5,5,5,5,5,5,5,5");
    }

    static void batches() throws Exception {
        for (String rewrite : new String[] {"false", "true"}) {
            try (Connection client = connect("reWriteBatchedInserts", rewrite)) {
                client.setAutoCommit(false);
                String sql = "insert into " + T + " (who, body) values (?, ?)";
                try (PreparedStatement statement = client.prepareStatement(sql)) {
                    for (int n = 0; n < 1000; n++) {
                        statement.setInt(1, 100);
                        statement.setString(2, "batch " + n);
                        statement.addBatch();
                    }
                    equal(statement.executeBatch().length, 1000);
                }
                client.commit();
            }
        }
        equal(text(clients.get(0), "select count(*) from " + T + " where who = 100"), "2000");
    }

    static void failingBatch() throws Exception {
        Connection client = clients.get(0);
        client.setAutoCommit(false);
        try (PreparedStatement statement =
                 client.prepareStatement("insert into " + T + " (who) values (100 / ?)")) {
            for (int n = 5; n >= 0; n--) {
                statement.setInt(1, n);
                statement.addBatch();
            }
            statement.executeBatch();
            throw new AssertionError("the batch should have failed");
        } catch (BatchUpdateException error) {
            equal(error.getSQLState(), "22012");
        }
        client.rollback();
        client.setAutoCommit(true);
        equal(text(client, "select count(*) from " + T + " where who = 20"), "0");
    }

    static void autosave() throws Exception {
        List<Connection> own = new ArrayList<>();
        for (int n = 0; n < CLIENTS; n++) {
            own.add(connect("autosave", "always"));
            own.get(n).setAutoCommit(false);
        }
        for (int turn = 0; turn < 5; turn++) {
            // More transactions stay open than servers exist only if nobody waits: one by one.
            for (int n = 0; n < CLIENTS; n++) {
                Connection client = own.get(n);
                equal(text(client, "select " + n), String.valueOf(n));
                fails("22012", () -> text(client, "select 1 / 0"));
                fails("42P01", () -> text(client, "select * from nowhere_at_all"));
                equal(text(client, "select 'alive'"), "alive");
                client.commit();
            }
        }
        for (Connection client : own) {
            client.close();
        }
    }

    static void cursor() throws Exception {
        onEveryClient((number, client) -> {
            client.setAutoCommit(false);
            try (PreparedStatement statement =
                     client.prepareStatement("select n * ? from generate_series(1, 1000) n")) {
                for (int turn = 0; turn < 3; turn++) {
                    statement.setInt(1, number);
                    statement.setFetchSize(64);
                    long total = 0;
                    try (ResultSet rows = statement.executeQuery()) {
                        while (rows.next()) {
                            total += rows.getLong(1);
                        }
                    }
                    equal(total, 500500L * number);
                }
            }
            client.commit();
            client.setAutoCommit(true);
        });
    }

    static void errors() throws Exception {
        onEveryClient((number, client) -> {
            for (int turn = 0; turn < 10; turn++) {
                fails("42601", () -> run(client, "selec 1"));
                fails("42P01", () -> run(client, "select * from nowhere_at_all"));
                try (PreparedStatement statement = client.prepareStatement("select 1 / ?")) {
                    statement.setInt(1, 0);
                    fails("22012", statement::executeQuery);
                    statement.setInt(1, 1);
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        equal(row.getInt(1), 1);
                    }
                }
            }
        });
    }

    static void failedTransaction() throws Exception {
        Connection client = clients.get(0);
        client.setAutoCommit(false);
        fails("22012", () -> text(client, "select 1 / 0"));
        fails("25P02", () -> text(client, "select 1"));
        client.rollback();
        client.setAutoCommit(true);
        equal(text(client, "select 1"), "1");
    }

    static void generatedKeys() throws Exception {
        onEveryClient((number, client) -> {
            String sql = "insert into " + T + " (who) values (?)";
            try (PreparedStatement statement =
                     client.prepareStatement(sql, Statement.RETURN_GENERATED_KEYS)) {
                statement.setInt(1, number);
                statement.executeUpdate();
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    check(keys.next() && keys.getInt("id") > 0, "no key");
                }
            }
        });
    }

    static void metadata() throws Exception {
        onEveryClient((number, client) -> {
            try (ResultSet columns = client.getMetaData().getColumns(null, null, T, null)) {
                int count = 0;
                while (columns.next()) {
                    count++;
                }
                equal(count, 3);
            }
            String sql = "select id, body from " + T + " where who = ?";
            try (PreparedStatement statement = client.prepareStatement(sql)) {
                equal(statement.getMetaData().getColumnCount(), 2);
                equal(statement.getParameterMetaData().getParameterTypeName(1), "int4");
            }
        });
    }

    static void settings() throws Exception {
        for (int n = 0; n < CLIENTS; n++) {
            clients.get(n).setClientInfo("ApplicationName", "set by " + n);
        }
        for (int turn = 0; turn < 5; turn++) {
            for (int n = 0; n < CLIENTS; n++) {
                equal(text(clients.get(n), "show application_name"), "set by " + n);
            }
        }
    }

    static void copy() throws Exception {
        onEveryClient((number, client) -> {
            CopyManager manager = client.unwrap(PGConnection.class).getCopyAPI();
            StringBuilder lines = new StringBuilder();
            for (int n = 0; n < 2000; n++) {
                lines.append(1000 + number).append("\tline ").append(n).append('\n');
            }
            String in = "copy " + T + " (who, body) from stdin";
            equal(manager.copyIn(in, new StringReader(lines.toString())), 2000L);
            StringWriter out = new StringWriter();
            String query = "copy (select who, body from " + T + " where who = " + (1000 + number)
                + " order by id) to stdout";
            equal(manager.copyOut(query, out), 2000L);
            equal(out.toString(), lines.toString());
            fails("22P02", () -> manager.copyIn(in, new StringReader("x\ty\n")));
            equal(text(client, "select 1"), "1");
        });
    }

    static void timeout() throws Exception {
        onEveryClient((number, client) -> {
            if (number == 0) {
                try (Statement statement = client.createStatement()) {
                    statement.setQueryTimeout(1);
                    fails("57014", () -> statement.executeQuery("select pg_sleep(60)"));
                }
                return;
            }
            for (int turn = 0; turn < 200; turn++) {
                equal(text(client, "select " + turn), String.valueOf(turn));
            }
        });
        onEveryClient((number, client) -> equal(text(client, "select 1"), "1"));
    }

    static void largeValues() throws Exception {
        String large = "x".repeat(3_000_000);
        onEveryClient((number, client) -> {
            if (number < 3) {
                try (PreparedStatement statement = client.prepareStatement("select ?::text")) {
                    statement.setString(1, large);
                    try (ResultSet row = statement.executeQuery()) {
                        row.next();
                        equal(row.getString(1), large);
                    }
                }
            }
        });
        int count = 0;
        try (Statement statement = clients.get(3).createStatement();
             ResultSet rows = statement.executeQuery(
                 "select repeat('y', 50) from generate_series(1, 50000)")) {
            while (rows.next()) {
                count++;
            }
        }
        equal(count, 50000);
    }

    static void sharing() {
        if (SERVERS == 0) {
            return;
        }
        Set<Integer> everyone = ConcurrentHashMap.newKeySet();
        pids.values().forEach(everyone::addAll);
        check(everyone.size() <= SERVERS, everyone.size() + " servers");
        check(pids.values().stream().anyMatch(set -> set.size() > 1), "no client changed its server");
    }

    static void leave() throws Exception {
        run(clients.get(0), "drop table " + T);
        for (Connection client : clients) {
            client.close();
        }
    }
}
