// node-postgres: parameters, named statements, errors, transactions, its pool, cancels.
//
// Connects as the usual PG* variables say; DRIVER_SERVERS is the number of servers behind the
// pooler, absent when the driver talks to PostgreSQL itself.
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const path = require('node:path')
const tls = require('node:tls')

// The driver is installed outside of the source tree.
const modules = process.env.DRIVER_NODE_MODULES
const pg = require(modules ? path.join(modules, 'pg') : 'pg')

const CLIENTS = 8
const T = `t_node_${process.pid}`
const servers = Number(process.env.DRIVER_SERVERS || 0)
const sslmode = process.env.PGSSLMODE || 'disable'

function encryption() {
  if (sslmode === 'disable') return false
  const ssl = { rejectUnauthorized: sslmode.startsWith('verify') }
  if (process.env.PGSSLROOTCERT) ssl.ca = fs.readFileSync(process.env.PGSSLROOTCERT, 'utf8')
  // An address in the certificate is an address, not a name: Node asks for it as such.
  ssl.checkServerIdentity = (host, certificate) =>
    sslmode === 'verify-full' ? tls.checkServerIdentity(process.env.PGHOST, certificate) : undefined
  return ssl
}

const config = {
  host: process.env.PGHOST,
  port: Number(process.env.PGPORT),
  user: process.env.PGUSER,
  password: process.env.PGPASSWORD,
  database: process.env.PGDATABASE,
  ssl: encryption(),
  enableChannelBinding: true,
}

const clients = []
const pids = new Map()

function seen(number, pid) {
  if (!pids.has(number)) pids.set(number, new Set())
  pids.get(number).add(pid)
}

function onEveryClient(work) {
  return Promise.all(clients.map((client, number) => work(number, client)))
}

async function one(client, query, values) {
  return (await client.query(query, values)).rows[0]
}

async function fails(code, promise) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message)
    return true
  })
}

const steps = {
  async 'clients connect'() {
    for (let number = 0; number < CLIENTS; number++) {
      const client = new pg.Client(config)
      await client.connect()
      if (config.ssl) assert.equal(client.connection.stream.encrypted, true)
      seen(number, (await one(client, 'select pg_backend_pid() as pid')).pid)
      clients.push(client)
    }
  },

  async 'values survive'() {
    const sql = 'select $1::int8 as a, $2::text as b, $3::bytea as c, $4::text as d,' +
      ' $5::bool as e, $6::numeric as f, $7::timestamptz as g, $8::int4[] as h, $9::jsonb as i'
    const when = new Date('2026-02-28T12:00:00Z')
    const blob = Buffer.from([0, 255, 1])
    await onEveryClient(async (number, client) => {
      const values = ['-4611686018427387904', "it's \\ ä 🐘", blob, null, true, '-1234.50', when,
        [1, null, 3], { a: [1, { b: null }] }]
      assert.deepEqual(Object.values(await one(client, sql, values)), values)
    })
  },

  // Every client has a statement of this name, and each means another query by it.
  async 'same names mean different statements'() {
    for (let turn = 0; turn < 30; turn++) {
      for (const [number, client] of clients.entries()) {
        const text = `select $1::int4 * ${number + 1} as product, ${number} as who,` +
          ' pg_backend_pid() as pid'
        const row = await one(client, { name: 'same name', text, values: [turn] })
        assert.equal(row.product, turn * (number + 1))
        assert.equal(row.who, number)
        seen(number, row.pid)
      }
    }
  },

  async 'same statement on all clients at once'() {
    const text = 'select $1::text as tag, pg_backend_pid() as pid'
    await onEveryClient(async (number, client) => {
      for (let turn = 0; turn < 200; turn++) {
        const tag = `${number}/${turn}`
        const row = await one(client, { name: 'tag', text, values: [tag] })
        assert.equal(row.tag, tag)
        seen(number, row.pid)
      }
    })
  },

  async 'unnamed statements on all clients at once'() {
    await onEveryClient(async (number, client) => {
      for (let turn = 0; turn < 100; turn++) {
        const row = await one(client, `select $1::int4 + ${number} as sum`, [turn])
        assert.equal(row.sum, turn + number)
      }
    })
  },

  // Queued without waiting: the driver sends the next query as soon as the last is answered.
  async 'queued queries are answered in order'() {
    await onEveryClient(async (number, client) => {
      const queries = []
      for (let n = 0; n < 50; n++) {
        queries.push(client.query({ name: `q${n % 5}`, text: `select $1::int4, ${n % 5} as k`, values: [n] }))
      }
      const answers = await Promise.all(queries)
      answers.forEach((answer, n) => assert.deepEqual(answer.rows[0], { int4: n, k: n % 5 }))
    })
  },

  async 'several statements in one query'() {
    await onEveryClient(async (number, client) => {
      const results = await client.query(`select ${number} as a; select 2 as b where false; select 3 as c`)
      assert.equal(results.length, 3)
      assert.deepEqual(results.map((result) => result.rows.length), [1, 0, 1])
      await fails('22012', client.query('select 1; select 1/0; select 3'))
    })
  },

  async 'transactions commit and roll back'() {
    await clients[0].query(`create table ${T} (id int primary key, who int)`)
    await onEveryClient(async (number, client) => {
      for (let turn = 0; turn < 10; turn++) {
        await client.query('begin')
        await client.query({
          name: 'insert', text: `insert into ${T} values ($1, $2)`, values: [number * 100 + turn, number],
        })
        await client.query('savepoint s')
        await client.query(`delete from ${T} where who = $1`, [number])
        await client.query('rollback to s')
        await client.query(turn % 2 ? 'rollback' : 'commit')
      }
    })
    const { rows } = await clients[1].query(`select who, count(*)::int as n from ${T} group by 1 order by 1`)
    assert.deepEqual(rows, clients.map((_, who) => ({ who, n: 5 })))
  },

  async 'errors leave the client usable'() {
    await onEveryClient(async (number, client) => {
      for (let turn = 0; turn < 10; turn++) {
        await fails('42601', client.query('selec 1'))
        await fails('22012', client.query({ name: 'zero', text: 'select 1 / $1::int4', values: [0] }))
        await fails('42P01', client.query({ name: `bad${turn}`, text: 'select * from nowhere_at_all' }))
        await fails('22P02', client.query('select $1::int4', ['x']))
        assert.equal((await one(client, 'select $1::int4 as n', [number])).n, number)
      }
    })
  },

  async 'a failed transaction ignores commands until its end'() {
    const client = clients[0]
    await client.query('begin')
    await fails('22012', client.query('select 1 / $1::int4', [0]))
    await fails('25P02', client.query('select $1::int4', [1]))
    await client.query('rollback')
    assert.equal((await one(client, 'select 1 as n')).n, 1)
  },

  async 'own settings follow their client'() {
    const zones = ['UTC', 'Europe/Berlin', 'Asia/Tokyo', 'America/Lima']
    await onEveryClient((number, client) => client.query(`set timezone to '${zones[number % 4]}'`))
    for (let turn = 0; turn < 5; turn++) {
      await onEveryClient(async (number, client) => {
        assert.equal((await one(client, 'show timezone')).TimeZone, zones[number % 4])
      })
    }
  },

  async 'its pool serves many'() {
    const pool = new pg.Pool({ ...config, max: CLIENTS })
    await Promise.all(Array.from({ length: 200 }, async (_, n) => {
      const { rows } = await pool.query({ name: 'pooled', text: 'select $1::int4 as n', values: [n] })
      assert.equal(rows[0].n, n)
    }))
    await pool.end()
  },

  // The driver sends its cancel without TLS, as libpq did until version 17.
  async 'a cancel stops the query it is meant for'() {
    const [sleeper, other] = clients
    const query = new pg.Query("select pg_sleep(60), 'node'")
    const ended = new Promise((resolve) => { query.on('error', resolve); query.on('end', resolve) })
    sleeper.query(query)
    const active = "select count(*)::int as n from pg_stat_activity where state = 'active'" +
      " and query = 'select pg_sleep(60), ''node'''"
    while ((await one(other, active)).n === 0);
    const canceller = new pg.Client({ ...config, ssl: false })
    canceller.connection.on('error', () => {})
    canceller.cancel(sleeper, query)
    const error = await ended
    assert.equal(error && error.code, '57014')
    await onEveryClient(async (number, client) => {
      assert.equal((await one(client, 'select $1::int4 as n', [number])).n, number)
    })
  },

  async 'large values pass'() {
    const text = 'x'.repeat(3000000)
    for (const client of clients.slice(0, 3)) {
      assert.equal((await one(client, 'select $1::text as t', [text])).t, text)
    }
    const { rows } = await clients[3].query("select repeat('y', 50) from generate_series(1, 50000)")
    assert.equal(rows.length, 50000)
  },

  async 'servers were shared'() {
    if (!servers) return
    const everyone = new Set([...pids.values()].flatMap((set) => [...set]))
    assert.ok(everyone.size <= servers, `${everyone.size} servers`)
    assert.ok([...pids.values()].some((set) => set.size > 1), 'no client ever changed its server')
  },

  async 'clients leave'() {
    await clients[0].query(`drop table ${T}`)
    await Promise.all(clients.map((client) => client.end()))
  },
}

async function main() {
  let count = 0
  for (const [name, step] of Object.entries(steps)) {
    try {
      await step()
    } catch (error) {
      console.error(error)
      console.log(`not ok ${name}`)
      process.exit(1)
    }
    count++
    console.log(`ok ${name}`)
  }
  console.log(`PASS ${count} steps`)
}

setTimeout(() => { console.log('not ok: too slow'); process.exit(1) }, 120000).unref()
main()
