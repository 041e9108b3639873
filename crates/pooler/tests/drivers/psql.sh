#!/bin/sh
# psql: \copy, \gdesc, \gset, \gexec, FETCH_COUNT, ON_ERROR_ROLLBACK, several statements in one
# query, -1 -f, and Ctrl-C; by several clients at once.
#
# Connects as the usual PG* variables say.
set -u

CLIENTS=8
T="t_psql_$$"
STEPS=0
FOLDER=$(mktemp -d) || exit 1
trap 'rm -rf "$FOLDER"' EXIT

ask() { psql -XAtq -v ON_ERROR_STOP=1 "$@"; }

# fail STEP: reports and ends.
fail() {
    echo "not ok $1"
    cat "$FOLDER"/*.err 2>/dev/null
    exit 1
}

# is STEP EXPECTED COMMAND...: compares the output of a command.
is() {
    step=$1 expected=$2
    shift 2
    actual=$("$@" 2>"$FOLDER/is.err")
    if [ "$actual" != "$expected" ]; then
        echo "expected: $expected"
        echo "but got:  $actual"
        fail "$step"
    fi
    ok "$step"
}

ok() {
    STEPS=$((STEPS + 1))
    echo "ok $1"
}

# at_once STEP: runs client.sql on all clients at the same time; each must say "done N".
at_once() {
    n=0
    while [ $n -lt $CLIENTS ]; do
        ask -v n=$n -v t="$T" -v file="$FOLDER/rows.$n" -f "$FOLDER/client.sql" \
            >"$FOLDER/out.$n" 2>"$FOLDER/client.$n.err" &
        eval "pid_$n=\$!"
        n=$((n + 1))
    done
    n=0
    while [ $n -lt $CLIENTS ]; do
        eval "wait \$pid_$n" || fail "$1 (client $n)"
        grep -qx "done $n" "$FOLDER/out.$n" || fail "$1 (client $n)"
        n=$((n + 1))
    done
    ok "$1"
}

ask -c "create table $T (id int, who int, body text)" 2>"$FOLDER/is.err" || fail "a table"

is "several statements in one query" "1
3" ask -c "select 1; select 2 where false; select 3"

psql -XAtq -c "insert into $T values (1, -1); select 1/0" >"$FOLDER/is.out" 2>"$FOLDER/is.err"
grep -q "division by zero" "$FOLDER/is.err" || fail "the error is told"
is "an error undoes the whole query" "0" ask -c "select count(*) from $T where who = -1"

cat >"$FOLDER/client.sql" <<'SQL'
\set body 'client ' :n
begin;
insert into :t select n, :n, :'body' from generate_series(1, 500) n;
commit;
select count(*) as mine from :t where who = :n \gset
select 'done ' || :n where :mine = 500;
SQL
at_once "transactions of all clients at once"
is "every row is there" "4000" ask -c "select count(*) from $T"

cat >"$FOLDER/client.sql" <<'SQL'
select 1::int8 as a, 'x'::varchar(7) as b \gdesc
select format('select %s + %s', :n, n) from generate_series(1, 20) n \gexec
\set FETCH_COUNT 100
select id from :t where who = :n order by id;
\set FETCH_COUNT 0
select 'done ' || :n;
SQL
at_once "columns are described, results are executed, rows are fetched in portions"
is "the description is right" "a|bigint
b|character varying(7)" head -2 "$FOLDER/out.3"
is "no row got lost between portions" "500" sh -c "sed '1,22d;\$d' '$FOLDER/out.3' | wc -l | tr -d ' '"

cat >"$FOLDER/copy.sql" <<SQL
\\copy (select id, who, body from $T where who = :n order by id) to '$FOLDER/rows.N'
\\copy $T from '$FOLDER/rows.N'
\\copy $T from '/dev/null'
select 'done ' || :n;
SQL
n=0
while [ $n -lt $CLIENTS ]; do
    sed "s/rows\.N/rows.$n/; s/who = :n/who = $n/" "$FOLDER/copy.sql" >"$FOLDER/copy.$n.sql"
    n=$((n + 1))
done
# \copy takes no variables: each client has its own script.
printf '\\set script %s/copy. :n .sql\n\\i :script\n' "'$FOLDER'" >"$FOLDER/client.sql"
at_once "copies in and out by all clients at once"
is "every copied row is there" "8000" ask -c "select count(*) from $T"

cat >"$FOLDER/client.sql" <<'SQL'
\set ON_ERROR_STOP 0
\set ON_ERROR_ROLLBACK on
begin;
select 1/0;
select nothing_here;
insert into :t values (-5, :n, 'after errors');
commit;
select count(*) as one from :t where id = -5 and who = :n \gset
select 'done ' || :n where :one = 1;
SQL
at_once "a savepoint before every statement"

echo "insert into $T values (-6, 0, 'x'); select 1/0;" >"$FOLDER/all.sql"
ask -1 -f "$FOLDER/all.sql" >"$FOLDER/is.out" 2>&1
is "a file in one transaction is undone as a whole" "0" ask -c "select count(*) from $T where id = -6"

psql -XAtq -c "copy $T from stdin" >"$FOLDER/is.out" 2>"$FOLDER/is.err" <<'ROWS'
not	a	row
ROWS
grep -q "invalid input syntax" "$FOLDER/is.err" || fail "a bad row is told"
is "a client works after a bad row" "1" ask -c "select 1"

psql -XAtq -c "select pg_sleep(60), 'psql $T'" >"$FOLDER/is.out" 2>"$FOLDER/cancel.err" &
sleeper=$!
active="select count(*) from pg_stat_activity where state = 'active' and query like '%''psql $T'''"
while [ "$(ask -c "$active and pid <> pg_backend_pid()")" = 0 ]; do
    kill -0 $sleeper 2>/dev/null || fail "Ctrl-C cancels the query"
done
kill -INT $sleeper
wait $sleeper
grep -q "canceling statement due to user request" "$FOLDER/cancel.err" || fail "Ctrl-C cancels the query"
ok "Ctrl-C cancels the query"

is "the table goes" "" ask -c "drop table $T"
echo "PASS $STEPS steps"
