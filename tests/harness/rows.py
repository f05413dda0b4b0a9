#!/usr/bin/env python3
"""Rows that another process writes into PostgreSQL (RELIABILITY F3): imported, threaded, decided and answered within
a second; within 35 s when the notification is lost; what is invalid is parked with its reason; a bridge that sits in
an open transaction delays nobody. Runs under tools/with-postgres."""
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
import hub as hubs

cases = hubs.Cases("rows")
ANSWER = "We are closed."
ANSWERED = f"SELECT COUNT(*) FROM messages WHERE direction = 1 AND text = '{ANSWER}' AND address = "


def make_bridge():
    """A role that may insert into inbound_rows and do nothing else; the hub's migration grants it that."""
    server = os.environ["HUB_TEST_PG_SUPER"]
    if hubs.psql(server, "SELECT COUNT(*) FROM pg_roles WHERE rolname = 'hub_bridge'") == "0":
        hubs.psql(server, "CREATE ROLE hub_bridge LOGIN")


def set_up(hub):
    channel = next(c for c in hub.pages("/api/v1/channels") if c["name"] == "sandbox")
    answer = hub.call("PATCH", f"/api/v1/channels/{channel['id']}", {"debounce_ms": 0, "policy": "auto_reply",
                                                               "auto_reply": ANSWER})
    assert answer.status == 200, answer


def answered(hub, sender, wait_s):
    began = time.monotonic()
    hubs.until(lambda: hub.sql(ANSWERED + f"'{sender}'")[0][0] == "1", wait_s)
    took = time.monotonic() - began
    row = hub.sql(f"SELECT COUNT(*) FROM messages WHERE direction = 0 AND address = '{sender}'"
                  " AND decision_id IS NOT NULL AND conversation_id > 0")
    assert row[0][0] == "1", row
    print(f"{sender}: answered after {took:.3f} s")
    return took


def insert(url, sender, text="are you open?", channel="sandbox", table="inbound_rows"):
    if table == "inbound_rows":
        hubs.psql(url, f"INSERT INTO inbound_rows (channel, sender, text) VALUES ('{channel}', '{sender}', '{text}')")
    else:
        hubs.psql(url, "INSERT INTO compat.et_messages (channel, direction, external_id, sender, text) VALUES "
                       f"('{channel}', 'inbound', 'et-{sender}', '{sender}', '{text}')")


def main():
    make_bridge()
    with hubs.Hub() as hub:
        set_up(hub)
        url = hub.database.replace("user=hub", "user=hub_bridge")

        def at_once():
            insert(url, "+15550000001")
            assert answered(hub, "+15550000001", 5) < 1

        def by_the_older_name():
            insert(url, "+15550000002", table="compat.et_messages")
            assert answered(hub, "+15550000002", 5) < 1

        def may_do_nothing_else():
            for statement in ("SELECT * FROM inbound_rows", "SELECT * FROM messages", "DELETE FROM inbound_rows",
                              "INSERT INTO tenants (id, name, created_ms) VALUES (9, 'x', 0)"):
                try:
                    hubs.psql(url, statement)
                except RuntimeError as refused:
                    assert "permission denied" in str(refused), refused
                else:
                    raise AssertionError(f"the bridge's role may: {statement}")

        def open_transaction():
            sitting = subprocess.Popen(["psql", "-X", "-q", "-d", url], stdin=subprocess.PIPE, text=True)
            sitting.stdin.write("BEGIN; INSERT INTO inbound_rows (channel, sender, text) VALUES "
                                "('sandbox', '+15550000003', 'are you open?');\n")
            sitting.stdin.flush()
            time.sleep(0.5)
            for number in range(10, 40):
                insert(url, f"+155500000{number}")
                assert answered(hub, f"+155500000{number}", 5) < 1
                began = time.monotonic()
                hub.post("/api/v1/messages", {"channel": "sandbox", "from": f"+155500001{number}", "text": "hello"})
                assert time.monotonic() - began < 0.5
                time.sleep(0.9)
            assert hub.sql(ANSWERED + "'+15550000003'")[0][0] == "0"
            sitting.stdin.write("COMMIT;\n")
            sitting.stdin.close()
            assert answered(hub, "+15550000003", 5) < 1
            sitting.wait(10)

        def lost_notification():
            hubs.psql(hub.superuser(), "ALTER TABLE inbound_rows DISABLE TRIGGER inbound_rows_notify")
            hubs.psql(hub.superuser(), "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                                       f"'{hub.database_name}' AND query LIKE 'LISTEN%'")
            time.sleep(2)       # by then the listener is back and has looked for itself
            insert(url, "+15550000004")
            took = answered(hub, "+15550000004", 35)
            assert took > 0.5, "the notification was not lost: this proves nothing"

        def invalid_rows_are_parked():
            hubs.psql(url, """
                INSERT INTO inbound_rows (tenant_id, channel, sender, text, external_id, metadata)
                SELECT CASE WHEN n % 50 = 0 THEN 77 ELSE 1 END,
                       CASE WHEN n % 50 = 10 THEN 'nowhere' WHEN n % 50 = 20 THEN NULL ELSE 'sandbox' END,
                       CASE WHEN n % 50 = 30 THEN '' ELSE '+1555100' || lpad((n % 100)::text, 4, '0') END,
                       CASE WHEN n % 50 = 40 THEN NULL ELSE 'row ' || n END, 'row-' || n, NULL
                FROM generate_series(1, 10000) n""")
            hubs.until(lambda: hub.sql("SELECT COUNT(*) FROM inbound_rows")[0][0] == "0", 60, 0.2)
            stored = hub.sql("SELECT COUNT(*), COUNT(DISTINCT external_id) FROM messages"
                             " WHERE external_id LIKE 'row-%'")
            parked = hub.sql("SELECT reason, COUNT(*) FROM parked WHERE source = 'inbound_rows' GROUP BY reason")
            print(stored, parked)
            assert stored == [["9000", "9000"]], stored
            assert sum(int(count) for _, count in parked) == 1000 and len(parked) >= 4, parked
            assert all(reason for reason, _ in parked)

        for name, test in (
                ("an inserted row is threaded, decided and answered within 1 s", at_once),
                ("the older name et_messages as well", by_the_older_name),
                ("the bridge's role may do nothing else", may_do_nothing_else),
                ("1,000 invalid rows among 10,000 are parked with reasons", invalid_rows_are_parked),
                ("a transaction open for 30 s delays nobody", open_transaction),
                ("with the listener killed within 35 s", lost_notification),
        ):
            cases.run(name, test)
    cases.exit()


if __name__ == "__main__":
    main()
