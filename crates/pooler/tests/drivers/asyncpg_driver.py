"""asyncpg: its statement cache, type introspection, transactions, COPY, timeouts and its pool."""

import asyncio
import datetime
import decimal
import io
import os
import uuid

import asyncpg

from checklist import CLIENTS, Checklist, expect_async

checklist = Checklist("asyncpg")
T = checklist.table
clients = []


async def on_every_client(work):
    """Runs `work(number, client)` on all clients at once."""
    return await asyncio.gather(*(work(number, c) for number, c in enumerate(clients)))


async def clients_connect():
    # Host, user, password, TLS mode and CA file come from the usual PG* variables.
    for number in range(CLIENTS):
        clients.append(await asyncpg.connect(timeout=30))
        checklist.seen(number, await clients[number].fetchval("select pg_backend_pid()"))
        if checklist.tls:
            assert clients[number]._transport.get_extra_info("ssl_object") is not None


async def values_survive():
    values = [
        -(2**62),
        "it's \\ \u00e4 \U0001f418",
        b"\x00\xff\x01",
        None,
        True,
        decimal.Decimal("-1234.50"),
        datetime.datetime(2026, 2, 28, 12, 0, tzinfo=datetime.timezone.utc),
        [1, None, 3],
        uuid.UUID(int=7),
        '{"a": 1}',
    ]
    sql = (
        "select $1::int8, $2::text, $3::bytea, $4::text, $5::bool, $6::numeric,"
        " $7::timestamptz, $8::int4[], $9::uuid, $10::json"
    )
    for client in clients:
        assert list(await client.fetchrow(sql, *values)) == values


async def unknown_types_are_looked_up():
    """Introspection runs queries of its own between Parse and Bind of ours."""
    first = clients[0]
    await first.execute(f"create type {T}_mood as enum ('sad', 'glad')")
    await first.execute(f"create type {T}_pair as (a int4, b text)")
    await first.execute(f"create table {T}_typed (m {T}_mood, p {T}_pair, ps {T}_pair[])")

    async def work(number, client):
        row = await client.fetchrow(
            f"insert into {T}_typed values ($1, $2, $3) returning *",
            "glad",
            (number, "x"),
            [(1, "y"), (2, None)],
        )
        assert row["m"] == "glad" and tuple(row["p"]) == (number, "x")
        assert [tuple(pair) for pair in row["ps"]] == [(1, "y"), (2, None)]

    await on_every_client(work)
    await first.execute(f"drop table {T}_typed")
    await first.execute(f"drop type {T}_pair, {T}_mood")


async def same_names_mean_different_statements():
    """Every client calls its first statement __asyncpg_stmt_1__ or so.

    The driver prepares with Flush, not Sync: its server stays with it until the first use. So
    nobody prepares for others to wait.
    """
    statements = []
    for number, client in enumerate(clients):
        sql = f"select $1::int4 * {number + 1}, {number}, pg_backend_pid()"
        statements.append(await client.prepare(sql))
        await statements[number].fetchrow(0)
    for turn in range(30):
        for number, statement in enumerate(statements):
            product, who, pid = await statement.fetchrow(turn)
            assert (product, who) == (turn * (number + 1), number)
            checklist.seen(number, pid)


async def same_statement_on_all_clients_at_once():
    async def work(number, client):
        for turn in range(200):
            tag = f"{number}/{turn}"
            row = await client.fetchrow("select $1::text, pg_backend_pid()", tag)
            assert row[0] == tag, row
            checklist.seen(number, row[1])

    await on_every_client(work)


async def a_small_cache_closes_statements():
    async def work(number):
        client = await asyncpg.connect(statement_cache_size=3)
        for turn in range(80):
            kind = (turn * 7 + number) % 11
            row = await client.fetchrow(f"select {kind}, $1::int4", turn)
            assert tuple(row) == (kind, turn)
        await client.close()

    await asyncio.gather(*(work(number) for number in range(CLIENTS)))


async def no_cache_uses_the_unnamed_statement():
    async def work(number):
        client = await asyncpg.connect(statement_cache_size=0)
        for turn in range(40):
            total = await client.fetchval("select $1::int4 + $2::int4", number, turn)
            assert total == number + turn
        await client.close()

    await asyncio.gather(*(work(number) for number in range(CLIENTS)))


async def many_rows_in_one_batch():
    await clients[0].execute(f"create table {T} (id int4 primary key, who int4, body text)")

    async def work(number, client):
        rows = [(number * 1000 + n, number, "x" * n) for n in range(300)]
        await client.executemany(f"insert into {T} values ($1, $2, $3)", rows)

    await on_every_client(work)
    assert await clients[1].fetchval(f"select count(*) from {T}") == 300 * CLIENTS


async def a_batch_fails_as_a_whole():
    client = clients[0]
    rows = [(-1, 0, "new"), (1, 0, "taken"), (-2, 0, "never")]
    await expect_async(
        asyncpg.PostgresError,
        "23505",
        client.executemany(f"insert into {T} values ($1, $2, $3)", rows),
    )
    assert await client.fetchval(f"select count(*) from {T} where id < 0") == 0


async def transactions_commit_and_roll_back():
    await clients[0].execute(f"truncate {T}")

    async def work(number, client):
        for turn in range(10):
            transaction = client.transaction(isolation="repeatable_read")
            await transaction.start()
            await client.execute(
                f"insert into {T} values ($1, $2)", number * 100 + turn, number
            )
            async with client.transaction():
                await client.execute("savepoint inside")
            if turn % 2:
                await transaction.rollback()
            else:
                await transaction.commit()

    await on_every_client(work)
    rows = await clients[2].fetch(f"select who, count(*) from {T} group by 1 order by 1")
    assert [tuple(row) for row in rows] == [(number, 5) for number in range(CLIENTS)]


async def errors_leave_the_client_usable():
    async def work(number, client):
        for _ in range(10):
            await expect_async(asyncpg.PostgresError, "42601", client.execute("selec 1"))
            await expect_async(
                asyncpg.PostgresError, "22012", client.fetchval("select 1 / $1::int4", 0)
            )
            await expect_async(
                asyncpg.PostgresError, "42P01", client.fetch("select * from nowhere_at_all")
            )
            assert await client.fetchval("select $1::int4", number) == number

    await on_every_client(work)


async def a_failed_transaction_ignores_commands_until_its_end():
    client = clients[0]
    await client.execute("begin")
    await expect_async(asyncpg.PostgresError, "22012", client.fetch("select 1 / 0"))
    await expect_async(asyncpg.PostgresError, "25P02", client.fetch("select 1"))
    await client.execute("rollback")
    assert await client.fetchval("select 1") == 1


async def copy_goes_both_ways():
    await clients[0].execute(f"truncate {T}")

    async def work(number, client):
        records = [(number * 10000 + n, number, f"line {n} \u00e4") for n in range(3000)]
        done = await client.copy_records_to_table(T, records=records)
        assert done == "COPY 3000", done
        out = io.BytesIO()
        done = await client.copy_from_query(
            f"select * from {T} where who = $1", number, output=out, format="csv"
        )
        assert done == "COPY 3000", done
        assert out.getvalue().count(b"\n") == 3000

    await on_every_client(work)

    async def broken():
        yield b"1\t2\n"
        raise KeyError("stopped")

    try:
        await clients[0].copy_to_table(T, source=broken(), columns=("id", "who"))
        raise AssertionError("the copy went on")
    except KeyError:
        pass
    assert await clients[0].fetchval(f"select count(*) from {T} where id = 1 and who = 2") == 0


async def a_cursor_lives_as_long_as_its_transaction():
    async def work(number, client):
        async with client.transaction():
            total = 0
            query = "select n * $1::int4 from generate_series(1, 1000) n"
            async for row in client.cursor(query, number, prefetch=37):
                total += row[0]
            assert total == 500500 * number
            cursor = await client.cursor("select generate_series(1, 100)")
            await cursor.forward(10)
            assert [row[0] for row in await cursor.fetch(2)] == [11, 12]

    await on_every_client(work)


async def own_settings_follow_their_client():
    zones = ["UTC", "Europe/Berlin", "Asia/Tokyo", "America/Lima"]
    for number, client in enumerate(clients):
        await client.execute(f"set timezone to '{zones[number % 4]}'")
    for _ in range(5):
        for number, client in enumerate(clients):
            assert await client.fetchval("show timezone") == zones[number % 4]
            assert client.get_settings().TimeZone == zones[number % 4]


async def a_timeout_cancels_the_query_it_is_meant_for():
    async def others(number, client):
        if number:
            for turn in range(100):
                assert await client.fetchval("select $1::int4", turn) == turn

    async def sleeper():
        try:
            await clients[0].fetch("select pg_sleep(60)", timeout=0.5)
            raise AssertionError("no timeout")
        except asyncio.TimeoutError:
            pass

    await asyncio.gather(sleeper(), on_every_client(others))
    for number, client in enumerate(clients):
        assert await client.fetchval("select $1::int4", number) == number


async def an_abandoned_task_cancels_its_query():
    task = asyncio.create_task(clients[1].fetch("select pg_sleep(60), 'abandoned'"))
    waiting = (
        "select count(*) from pg_stat_activity where state = 'active'"
        " and query = 'select pg_sleep(60), ''abandoned'''"
    )
    while await clients[2].fetchval(waiting) == 0:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert task.cancelled()
    assert await clients[1].fetchval("select 1") == 1
    while await clients[2].fetchval(waiting) != 0:
        await asyncio.sleep(0)


async def its_pool_resets_between_users():
    async with asyncpg.create_pool(min_size=4, max_size=CLIENTS) as pool:

        async def work(number):
            for turn in range(15):
                async with pool.acquire() as client:
                    async with client.transaction():
                        assert await client.fetchval("select $1::int4", turn) == turn

        await asyncio.gather(*(work(number) for number in range(16)))


async def large_values_pass():
    blob = os.urandom(3_000_000)

    async def work(number, client):
        if number < 3:
            assert await client.fetchval("select $1::bytea", blob) == blob

    await on_every_client(work)
    rows = await clients[4].fetch("select n, repeat('y', 50) from generate_series(1, 50000) n")
    assert len(rows) == 50_000


def servers_were_shared():
    checklist.check_sharing()


async def clients_leave():
    await clients[0].execute(f"drop table {T}")
    for client in clients:
        await client.close()


checklist.run(
    [
        clients_connect,
        values_survive,
        unknown_types_are_looked_up,
        same_names_mean_different_statements,
        same_statement_on_all_clients_at_once,
        a_small_cache_closes_statements,
        no_cache_uses_the_unnamed_statement,
        many_rows_in_one_batch,
        a_batch_fails_as_a_whole,
        transactions_commit_and_roll_back,
        errors_leave_the_client_usable,
        a_failed_transaction_ignores_commands_until_its_end,
        copy_goes_both_ways,
        a_cursor_lives_as_long_as_its_transaction,
        own_settings_follow_their_client,
        a_timeout_cancels_the_query_it_is_meant_for,
        an_abandoned_task_cancels_its_query,
        its_pool_resets_between_users,
        large_values_pass,
        servers_were_shared,
        clients_leave,
    ]
)
