"""What the Python drivers share: where to connect, and how steps are run and reported.

Every driver prints `ok <step>` for each step and `PASS <n> steps` at the end; the first step
that fails ends the program with a non-zero code.

DRIVER_SERVERS is the number of servers behind the pooler; without it the driver talks to
PostgreSQL itself, and nothing is asked about sharing.
"""

import asyncio
import inspect
import os
import sys
import traceback

CLIENTS = 8


class Checklist:
    def __init__(self, driver):
        self.driver = driver
        self.table = f"t_{driver}_{os.getpid()}"
        self.servers = int(os.environ.get("DRIVER_SERVERS", "0"))
        self.tls = os.environ.get("PGSSLMODE", "prefer") not in ("disable", "allow", "prefer")
        self.pids = {}
        self.steps = 0

    def seen(self, client, pid):
        """Remembers which server answered which client."""
        self.pids.setdefault(client, set()).add(pid)

    def check_sharing(self):
        """All clients were served by few servers, and some client by more than one."""
        if not self.servers:
            return
        everyone = set().union(*self.pids.values())
        assert len(everyone) <= self.servers, f"{len(everyone)} servers: {everyone}"
        assert any(len(pids) > 1 for pids in self.pids.values()), f"no switch: {self.pids}"

    def ok(self, name):
        self.steps += 1
        print("ok", name, flush=True)

    def run(self, steps):
        """Runs plain functions and coroutines in order."""
        asyncio.run(self._run(steps))

    async def _run(self, steps):
        for step in steps:
            name = step.__name__.replace("_", " ")
            try:
                result = step()
                if inspect.isawaitable(result):
                    await asyncio.wait_for(result, 120)
            except BaseException:
                traceback.print_exc()
                print("not ok", name, flush=True)
                # Threads of a failed step may still wait for an answer.
                os._exit(1)
            self.ok(name)
        print(f"PASS {self.steps} steps", flush=True)
        sys.stdout.flush()


def expect(error, sqlstate, action):
    """Runs an action that must fail with this SQLSTATE."""
    try:
        action()
    except error as raised:
        assert raised.sqlstate == sqlstate, f"{raised.sqlstate}: {raised}"
        return
    raise AssertionError(f"no error {sqlstate}")


async def expect_async(error, sqlstate, action):
    """Awaits something that must fail with this SQLSTATE."""
    try:
        await action
    except error as raised:
        assert raised.sqlstate == sqlstate, f"{raised.sqlstate}: {raised}"
        return
    raise AssertionError(f"no error {sqlstate}")
