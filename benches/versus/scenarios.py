"""What is measured, and what each figure may be at most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Scenario:
    """One row: a load of `tidegate bench` and the figure that is read from its report."""

    key: str
    title: str
    unit: str
    figure: tuple
    load: list
    # Against whom, and how much of it Tidegate may need; without a rival an absolute bound.
    rival: str = ""
    at_most: float = 0
    path: str = "/"
    secure: bool = False
    # Memory is read on processes that have served nobody before, once.
    fresh: bool = False
    extra: tuple = ()
    connect_rate: str = "max"
    # What the figure is multiplied with to be in the unit.
    factor: float = 1


CPU = ("cpu_us_per_message",)
BULK = ("cpu_s_per_gigabyte",)
OPENING = ("cpu_us_per_handshake",)
MEMORY = ("memory_open", "bytes_per_connection")
CORES = ("cpu_cores",)
# How much more a message may cost over the most sessions than over the fewest: the noise.
MOST_SLOPE = 1.10


def scenarios(sessions, tls_sessions):
    """The rows, with so many idle sessions."""
    rate = ["--connections", "1000", "--rate", "10000/s"]
    one = ["--connections", "100", "--in-flight", "1"]
    eight = ["--connections", "100", "--in-flight", "8"]
    kib64 = ["--connections", "20", "--in-flight", "1", "--size", "64KiB"]
    mib1 = ["--connections", "8", "--in-flight", "1", "--size", "1MiB"]
    push = ["--mode", "sink", "--connections", "1000"]
    connect = ["--mode", "connect", "--connections", "50"]
    idle = ["--mode", "idle", "--connections", str(sessions)]
    idle_tls = ["--mode", "idle", "--connections", str(tls_sessions)]
    us, gb, size = "µs", "CPU s/GB", "bytes"
    return [
        Scenario("idle", "idle session: PSS", size, MEMORY, idle, "", 2000, fresh=True,
                 connect_rate="2000/s"),
        Scenario("idle-tls", "idle TLS session: PSS", size, MEMORY, idle_tls, "", 10500,
                 secure=True, fresh=True, connect_rate="1000/s"),
        Scenario("idle-cpu", "1,000 idle sessions: CPU", "ms/s", CORES, idle, "", 0.1,
                 connect_rate="2000/s", factor=1e6 / sessions),
        Scenario("rate", "1,000 connections, 10k/s: per round trip", us, CPU, rate, "nginx", 0.90),
        Scenario("closed-1", "closed loop, 1 in flight: per message", us, CPU, one, "nginx", 0.97),
        Scenario("closed-8", "closed loop, 8 in flight: per message", us, CPU, eight, "nginx", 0.92),
        Scenario("64k", "64 KiB messages", gb, BULK, kib64, "HAProxy", 0.50),
        Scenario("1m", "1 MiB messages", gb, BULK, mib1, "HAProxy", 0.77),
        Scenario("push", "push to 1,000 clients: per delivery", us, CPU, push, "nginx", 0.94,
                 path="/push"),
        Scenario("connect", "open, upgrade, close", us, OPENING, connect, "nginx", 1.0),
        Scenario("tls-full", "the same, TLS 1.3, full handshake", us, OPENING, connect, "nginx",
                 0.60, secure=True),
        Scenario("tls-resumed", "the same, resumed", us, OPENING, connect, "nginx", 0.70,
                 secure=True, extra=("--resume",)),
        Scenario("tls-rate", "TLS round trip, 1,000 connections, 10k/s", us, CPU, rate, "nginx",
                 0.88, secure=True),
        Scenario("tls-8", "TLS, 8 in flight: per message", us, CPU, eight, "nginx", 0.83,
                 secure=True),
        Scenario("tls-64k", "TLS, 64 KiB messages", gb, BULK, kib64, "HAProxy", 0.56, secure=True),
        Scenario("tls-1m", "TLS, 1 MiB messages", gb, BULK, mib1, "HAProxy", 0.60, secure=True),
    ]


def slopes(sessions):
    """The same rate over few and many sessions: it must cost the same."""
    return [
        Scenario(f"slope-{count}", f"10k/s over {count:,} sessions: per round trip", "µs", CPU,
                 ["--connections", str(count), "--rate", "10000/s"])
        for count in (100, 1000, sessions)
    ]
