"""psycopg 3 (libpq): prepared statements, pipelines, COPY, cursors, errors, cancels."""

import concurrent.futures
import datetime
import decimal
import threading

import psycopg
from psycopg.types.json import Jsonb

from checklist import CLIENTS, Checklist, expect

checklist = Checklist("psycopg3")
T = checklist.table
clients = []


def connect(**options):
    return psycopg.connect(autocommit=True, application_name="psycopg3", **options)


def on_every_client(work):
    """Runs `work(number, client)` on all clients at once."""
    with concurrent.futures.ThreadPoolExecutor(CLIENTS) as threads:
        running = [threads.submit(work, number, c) for number, c in enumerate(clients)]
        return [future.result(timeout=100) for future in running]


def clients_connect():
    for _ in range(CLIENTS):
        clients.append(connect())
    for number, client in enumerate(clients):
        if checklist.tls:
            assert client.pgconn.ssl_in_use
        pid = client.execute("select pg_backend_pid()").fetchone()[0]
        checklist.seen(number, pid)


def tls_may_start_at_once_and_bind_scram():
    """Both need more than PgBouncer 1.18 and PostgreSQL 15 have together."""
    if not checklist.servers or psycopg.pq.version() < 170000:
        return
    for options in ({"sslnegotiation": "direct"}, {"channel_binding": "require"}):
        client = connect(**options)
        assert client.pgconn.ssl_in_use
        assert client.execute("select 1").fetchone() == (1,)
        client.close()


def values_survive_both_formats():
    values = (
        -(2**62),
        "it's \\ \u00e4 \U0001f418",
        b"\x00\xff\x01",
        None,
        True,
        decimal.Decimal("-1234.50"),
        datetime.datetime(2026, 2, 28, 12, 0, tzinfo=datetime.timezone.utc),
        [1, None, 3],
    )
    sql = (
        "select %s::int8, %s::text, %s::bytea, %s::text, %s::bool, %s::numeric,"
        " %s::timestamptz, %s::int4[]"
    )
    for client in clients:
        for binary in (False, True):
            cursor = client.cursor(binary=binary)
            assert cursor.execute(sql, values).fetchone() == values
    document = {"a": [1, {"b": None}]}
    assert clients[0].execute("select %s::jsonb", (Jsonb(document),)).fetchone()[0] == document


def same_names_mean_different_statements():
    """Every client calls its first statement _pg3_0, and each means another query by it."""
    for client in clients:
        client.prepare_threshold = 0
    for turn in range(20):
        for number, client in enumerate(clients):
            sql = f"select %s::int4 * {number + 1}, {number}, pg_backend_pid()"
            product, who, pid = client.execute(sql, (turn,)).fetchone()
            assert (product, who) == (turn * (number + 1), number)
            checklist.seen(number, pid)


def same_statement_on_all_clients_at_once():
    def work(number, client):
        for turn in range(150):
            tag = f"{number}/{turn}"
            row = client.execute("select %s::text, pg_backend_pid()", (tag,)).fetchone()
            assert row[0] == tag, row
            checklist.seen(number, row[1])

    on_every_client(work)


def statements_prepare_after_five_uses():
    for client in clients:
        client.prepare_threshold = 5
    for turn in range(12):
        for number, client in enumerate(clients):
            row = client.execute("select %s::int4 - %s::int4", (number, turn)).fetchone()
            assert row == (number - turn,)


def statements_are_closed_when_there_are_too_many():
    def work(number, client):
        client.prepare_threshold = 0
        client.prepared_max = 4
        for turn in range(60):
            kind = (turn * 7 + number) % 11
            row = client.execute(f"select {kind}, %s::int4", (turn,)).fetchone()
            assert row == (kind, turn)
        client.prepared_max = 100

    on_every_client(work)


def transactions_commit_and_roll_back():
    clients[0].execute(f"drop table if exists {T}")
    clients[0].execute(f"create table {T} (id int primary key, who int, body text)")

    def work(number, client):
        for turn in range(10):
            key = number * 100 + turn
            try:
                with client.transaction():
                    client.execute(f"insert into {T} values (%s, %s, 'x')", (key, number))
                    if turn % 2:
                        raise psycopg.Rollback()
                    with client.transaction(force_rollback=True):
                        client.execute(f"delete from {T} where who = %s", (number,))
            except psycopg.Rollback:
                pass

    on_every_client(work)
    rows = clients[1].execute(f"select who, count(*) from {T} group by 1 order by 1").fetchall()
    assert rows == [(number, 5) for number in range(CLIENTS)], rows


def settings_of_a_transaction_do_not_leak():
    def work(number, client):
        for _ in range(20):
            with client.transaction():
                client.execute(f"set local statement_timeout = {number + 1000}")
                shown = client.execute("show statement_timeout").fetchone()[0]
                assert shown in (f"{number + 1000}ms", "1s"), shown
        assert client.execute("show statement_timeout").fetchone()[0] == "0"

    on_every_client(work)


def own_settings_follow_their_client():
    zones = ["UTC", "Europe/Berlin", "Asia/Tokyo", "America/Lima"]
    for number, client in enumerate(clients):
        client.execute(f"set timezone to '{zones[number % 4]}'")
        client.execute(f"set application_name to 'client {number}'")
    for _ in range(5):
        for number, client in enumerate(clients):
            assert client.execute("show timezone").fetchone()[0] == zones[number % 4]
            assert client.execute("show application_name").fetchone()[0] == f"client {number}"


def errors_leave_the_client_usable():
    def work(number, client):
        for _ in range(10):
            expect(psycopg.Error, "42601", lambda: client.execute("selec 1"))
            expect(psycopg.Error, "22012", lambda: client.execute("select 1 / %s", (0,)))
            expect(psycopg.Error, "42P01", lambda: client.execute("select * from nowhere_at_all"))
            expect(psycopg.Error, "22P02", lambda: client.execute("select %s::int4", ("x",)))
            assert client.execute("select %s::int4", (number,)).fetchone() == (number,)

    on_every_client(work)


def a_failed_transaction_ignores_commands_until_its_end():
    client = clients[0]
    client.execute("begin")
    expect(psycopg.Error, "22012", lambda: client.execute("select 1 / %s", (0,)))
    expect(psycopg.Error, "25P02", lambda: client.execute("select 1"))
    client.execute("rollback")
    assert client.execute("select 1").fetchone() == (1,)


def copy_goes_both_ways():
    rows = [(n, f"line {n}\t\\ \u00e4") for n in range(5000)]

    def work(number, client):
        name = f"{T}_copy_{number}"
        client.execute(f"create table {name} (id int, body text)")
        with client.cursor() as cursor:
            with cursor.copy(f"copy {name} from stdin") as copy:
                for row in rows:
                    copy.write_row(row)
            with cursor.copy(f"copy {name} from stdin (format binary)") as copy:
                copy.set_types(["int4", "text"])
                for row in rows:
                    copy.write_row(row)
            with cursor.copy(f"copy (select * from {name} order by id) to stdout") as copy:
                copy.set_types(["int4", "text"])
                assert list(copy.rows()) == sorted(rows * 2)
        client.execute(f"drop table {name}")

    on_every_client(work)


def a_broken_copy_leaves_the_client_usable():
    client = clients[0]

    def stop_half_way():
        with client.cursor().copy(f"copy {T} (id) from stdin") as copy:
            copy.write_row((123456,))
            raise KeyError("stopped")

    try:
        stop_half_way()
        raise AssertionError("the copy went on")
    except KeyError:
        pass

    def bad_data():
        with client.cursor().copy(f"copy {T} (id) from stdin") as copy:
            for _ in range(5000):
                copy.write(b"not a number\n")

    expect(psycopg.Error, "22P02", bad_data)
    assert client.execute(f"select count(*) from {T} where id = 123456").fetchone() == (0,)


def a_cursor_lives_as_long_as_its_transaction():
    def work(number, client):
        with client.transaction(), client.cursor(name="same_name") as cursor:
            cursor.itersize = 64
            cursor.execute("select n * %s from generate_series(1, 1000) n", (number,))
            total = sum(row[0] for row in cursor)
            assert total == 500500 * number

    on_every_client(work)


def a_pipeline_answers_in_order():
    def work(number, client):
        client.prepare_threshold = 0
        with client.pipeline():
            cursors = [client.execute("select %s::int4, %s::int4", (number, n)) for n in range(100)]
        for n, cursor in enumerate(cursors):
            assert cursor.fetchone() == (number, n)
        with client.cursor() as cursor:
            cursor.executemany(
                "select %s::int4 + 1", [(n,) for n in range(50)], returning=True
            )
            for n in range(50):
                assert cursor.fetchone() == (n + 1,)
                cursor.nextset()

    on_every_client(work)


def an_error_in_a_pipeline_aborts_only_up_to_its_sync():
    def work(number, client):
        with client.pipeline() as pipeline:
            first = client.execute("select %s::int4", (number,))
            pipeline.sync()
            # psycopg may read the error at any of these calls: it comes once, and is that one.
            unanswered = []
            try:
                unanswered.append(client.execute("select 1 / %s", (0,)))
                unanswered.append(client.execute("select %s::int4", (1,)))
                pipeline.sync()
                raise AssertionError("a division by zero was not reported")
            except psycopg.Error as error:
                assert error.sqlstate == "22012", error
            for cursor in unanswered:
                try:
                    cursor.fetchone()
                    raise AssertionError("a query after an error was answered")
                except psycopg.Error:
                    pass
            try:
                pipeline.sync()
            except psycopg.Error as error:
                # The statement behind the error, heard only now: it was skipped.
                assert isinstance(error, psycopg.errors.PipelineAborted), error
            last = client.execute("select %s::int4", (number + 7,))
            assert last.fetchone() == (number + 7,)
            assert first.fetchone() == (number,)
        assert client.execute("select 1").fetchone() == (1,)

    on_every_client(work)


def large_values_and_many_rows_pass():
    text = "x" * 4_000_000
    for client in clients[:3]:
        assert client.execute("select %s::text", (text,)).fetchone()[0] == text
    cursor = clients[3].cursor()
    count = sum(1 for _ in cursor.stream("select repeat('y', 50) from generate_series(1, 100000)"))
    assert count == 100_000


def notices_reach_the_client_that_caused_them():
    for number, client in enumerate(clients):
        heard = []
        client.add_notice_handler(lambda diagnostic: heard.append(diagnostic.message_primary))
        client.execute(f"do $$ begin raise notice 'to {number}'; end $$")
        assert heard == [f"to {number}"]


def a_cancel_stops_the_query_it_is_meant_for():
    sleeper, other = clients[0], clients[1]

    def sleep():
        expect(psycopg.Error, "57014", lambda: sleeper.execute("select pg_sleep(60)"))

    thread = threading.Thread(target=sleep)
    thread.start()
    waiting = (
        "select count(*) from pg_stat_activity"
        " where query = 'select pg_sleep(60)' and state = 'active'"
    )
    while other.execute(waiting).fetchone()[0] == 0:
        pass
    sleeper.cancel_safe()
    thread.join(30)
    assert not thread.is_alive(), "the cancel was lost"
    assert sleeper.execute("select 1").fetchone() == (1,)
    # A cancel that finds nothing to cancel hits nobody.
    sleeper.cancel_safe()
    for client in clients:
        assert client.execute("select 1").fetchone() == (1,)


def servers_were_shared():
    checklist.check_sharing()


def clients_leave():
    clients[0].execute(f"drop table {T}")
    for client in clients:
        client.close()


checklist.run(
    [
        clients_connect,
        tls_may_start_at_once_and_bind_scram,
        values_survive_both_formats,
        same_names_mean_different_statements,
        same_statement_on_all_clients_at_once,
        statements_prepare_after_five_uses,
        statements_are_closed_when_there_are_too_many,
        transactions_commit_and_roll_back,
        settings_of_a_transaction_do_not_leak,
        own_settings_follow_their_client,
        errors_leave_the_client_usable,
        a_failed_transaction_ignores_commands_until_its_end,
        copy_goes_both_ways,
        a_broken_copy_leaves_the_client_usable,
        a_cursor_lives_as_long_as_its_transaction,
        a_pipeline_answers_in_order,
        an_error_in_a_pipeline_aborts_only_up_to_its_sync,
        large_values_and_many_rows_pass,
        notices_reach_the_client_that_caused_them,
        a_cancel_stops_the_query_it_is_meant_for,
        servers_were_shared,
        clients_leave,
    ]
)
