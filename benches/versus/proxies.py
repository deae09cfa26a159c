"""The proxies under test: how each is configured, started, told to reload and stopped.

All have two workers, no access log, no limit in the way and the same backends: `/` is two echoes,
`/push` and `/flood` are what backend.py does.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

START_TIMEOUT_SECONDS = 20
STOP_TIMEOUT_SECONDS = 5


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_port(port, process):
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"{process.args[0]} ended with {process.returncode} at its start")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{process.args[0]} does not listen on {port}")


class Started:
    """A process of ours, with all its descendants in a group of its own."""

    def __init__(self, arguments, port, log):
        self.port = port
        with open(log, "wb") as log:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        await_port(port, self.process)

    @property
    def pid(self):
        return self.process.pid

    def stop(self):
        for sign in (signal.SIGTERM, signal.SIGKILL):
            try:
                # The group is the child's own: start_new_session made it its leader.
                os.killpg(self.pid, sign)
                self.process.wait(STOP_TIMEOUT_SECONDS)
            except ProcessLookupError:
                return
            except subprocess.TimeoutExpired:
                continue


class Backends:
    """Where the proxies lead to."""

    def __init__(self, tidegate, folder):
        here = Path(__file__).parent
        self.echo = [free_port(), free_port()]
        self.push, self.flood = free_port(), free_port()
        commands = [
            (port, [tidegate, "echo", "--listen", f"127.0.0.1:{port}"]) for port in self.echo
        ] + [
            (self.push, ["python3", here / "backend.py", "push", self.push]),
            (self.flood, ["python3", here / "backend.py", "flood", self.flood]),
        ]
        self.started = []
        try:
            for port, command in commands:
                self.started.append(Started(command, port, folder / f"backend-{port}.log"))
        except BaseException:
            self.stop()
            raise

    def stop(self):
        for backend in self.started:
            backend.stop()


class Proxy:
    """One proxy: `plain` and `tls` are the ports it listens on."""

    name = ""
    binary = ""
    reload_signal = signal.SIGHUP
    # Whether it only carries bytes: no TLS, no configuration, no bound on what it holds.
    is_bare = False

    def __init__(self, folder, backends, certificate, key):
        self.folder = folder / self.name
        self.folder.mkdir(exist_ok=True)
        self.backends, self.certificate, self.key = backends, certificate, key
        self.plain, self.tls = free_port(), free_port()
        self.started = None

    @classmethod
    def installed(cls):
        return shutil.which(cls.binary)

    def start(self):
        self.started = Started(self.command(), self.plain, self.folder / "log")

    def stop(self):
        if self.started:
            self.started.stop()
        self.started = None

    def restart(self):
        self.stop()
        self.start()

    @property
    def pid(self):
        return self.started.pid

    def target(self, scenario):
        """Where the scenario's load goes, and the process that is accounted; None where it can't be borne."""
        return (self.tls if scenario.secure else self.plain), self.pid

    def reload(self):
        os.kill(self.pid, self.reload_signal)

    def reloads(self):
        """Reloads that have taken effect, None where it does not say."""

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def command(self):
        raise NotImplementedError

    def version(self):
        raise NotImplementedError


def output(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return (done.stdout + done.stderr).strip().splitlines()[0]


class Nginx(Proxy):
    name = "nginx"
    binary = "nginx"

    def version(self):
        return output("nginx", "-v").split("/")[-1]

    def command(self):
        echo = " ".join(f"server 127.0.0.1:{port};" for port in self.backends.echo)
        path = self.write(
            "nginx.conf",
            f"""
worker_processes 2; daemon off; pid {self.folder}/pid; error_log /dev/null;
worker_rlimit_nofile 20000;
events {{ worker_connections 19000; }}
http {{
  access_log off;
  client_body_temp_path {self.folder}/body; proxy_temp_path {self.folder}/proxy;
  fastcgi_temp_path {self.folder}/f; uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  upstream echo {{ {echo} }}
  upstream push {{ server 127.0.0.1:{self.backends.push}; }}
  upstream flood {{ server 127.0.0.1:{self.backends.flood}; }}
  ssl_certificate {self.certificate}; ssl_certificate_key {self.key};
  ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:tls:10m; ssl_session_tickets on;
  proxy_http_version 1.1;
  proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
  proxy_set_header Host $host;
  proxy_read_timeout 1h; proxy_send_timeout 1h;
  server {{
    listen 127.0.0.1:{self.plain} backlog=4096;
    listen 127.0.0.1:{self.tls} ssl backlog=4096;
    location / {{ proxy_pass http://echo; }}
    location /push {{ proxy_pass http://push; }}
    location /flood {{ proxy_pass http://flood; }}
  }}
}}
""",
        )
        return ["nginx", "-c", path]


class Haproxy(Proxy):
    name = "HAProxy"
    binary = "haproxy"
    # To the master, which starts a new worker and lets the old one finish.
    reload_signal = signal.SIGUSR2

    def version(self):
        return output("haproxy", "-v").split()[2]

    def command(self):
        bundle = self.write("both.pem", self.certificate.read_text() + self.key.read_text())
        echo = "\n".join(f"  server e{port} 127.0.0.1:{port}" for port in self.backends.echo)
        path = self.write(
            "haproxy.cfg",
            f"""
global
  nbthread 2
  maxconn 9500
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  timeout tunnel 1h
frontend all
  bind 127.0.0.1:{self.plain}
  bind 127.0.0.1:{self.tls} ssl crt {bundle}
  use_backend push if {{ path_beg /push }}
  use_backend flood if {{ path_beg /flood }}
  default_backend echo
backend echo
  balance roundrobin
{echo}
backend push
  server push 127.0.0.1:{self.backends.push}
backend flood
  server flood 127.0.0.1:{self.backends.flood}
""",
        )
        return ["haproxy", "-W", "-f", path]


class Sozu(Proxy):
    name = "sozu"
    binary = "sozu"

    def target(self, scenario):
        # It hangs up on a TLS client that names no host, and the generator connects to an address.
        return None if scenario.secure else super().target(scenario)

    def version(self):
        return output("sozu", "--version").split()[1]

    def reload(self):
        config = self.folder / "sozu.toml"
        subprocess.run(["sozu", "-c", config, "reload"], capture_output=True, check=False)

    def command(self):
        def cluster(name, path, ports):
            frontend = f'address = "127.0.0.1:{self.plain}", hostname = "127.0.0.1", path = "{path}"'
            servers = ", ".join(f'{{ address = "127.0.0.1:{port}" }}' for port in ports)
            return (
                f'[clusters.{name}]\nprotocol = "http"\nfrontends = [{{ {frontend} }}]\n'
                f"backends = [{servers}]\n"
            )

        path = self.write(
            "sozu.toml",
            f"""
command_socket = "{self.folder}/sock"
saved_state = "{self.folder}/state"
log_level = "error"
log_target = "stdout"
worker_count = 2
max_connections = 9500
max_buffers = 40000
[[listeners]]
protocol = "http"
address = "127.0.0.1:{self.plain}"
"""
            + cluster("Echo", "/", self.backends.echo)
            + cluster("Push", "/push", [self.backends.push])
            + cluster("Flood", "/flood", [self.backends.flood]),
        )
        return ["sozu", "start", "-c", path]


class Limit(Proxy):
    """A relay that looks at nothing: what no proxy on epoll can go below. Where bytes go is all it knows,
    so pushes have a relay of their own."""

    name = "limit"
    is_bare = True
    source = Path(__file__).parent / "limit"
    folder_built = Path(__file__).resolve().parents[2] / "target/versus"

    @classmethod
    def installed(cls):
        if not shutil.which("cargo"):
            return False
        build = ["cargo", "build", "--quiet", "--release", "--locked"]
        manifest = ["--manifest-path", cls.source / "Cargo.toml", "--target-dir", cls.folder_built]
        subprocess.run([*build, *manifest], check=True)
        return True

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.push, self.pushing = free_port(), None

    def start(self):
        super().start()
        command = self.relay(self.push, self.backends.push)
        self.pushing = Started(command, self.push, self.folder / "push.log")

    def stop(self):
        super().stop()
        if self.pushing:
            self.pushing.stop()
        self.pushing = None

    def target(self, scenario):
        if scenario.secure:
            return None
        return (self.push, self.pushing.pid) if scenario.path == "/push" else (self.plain, self.pid)

    def version(self):
        return "of " + output("rustc", "--version").rpartition(" (")[0]

    def command(self):
        return self.relay(self.plain, *self.backends.echo)

    def relay(self, port, *backends):
        return [self.folder_built / "release/limit", port, 2, *backends]


class Tidegate(Proxy):
    """With everything that is on by default."""

    name = "Tidegate"
    path = None

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.admin = free_port()

    def version(self):
        return output(str(self.path), "--version").split()[-1]

    def reloads(self):
        url = f"http://127.0.0.1:{self.admin}/metrics"
        with urllib.request.urlopen(url, timeout=STOP_TIMEOUT_SECONDS) as answer:
            text = answer.read().decode()
        found = re.search(r'^tidegate_reloads_total\{result="ok"\} (\d+)', text, re.M)
        return int(found.group(1)) if found else 0

    def command(self):
        echo = ", ".join(f'"127.0.0.1:{port}"' for port in self.backends.echo)
        path = self.write(
            "tidegate.toml",
            f"""
[server]
workers = 2
[admin]
bind = "127.0.0.1:{self.admin}"
[listener.plain]
bind = "127.0.0.1:{self.plain}"
[listener.secure]
bind = "127.0.0.1:{self.tls}"
[listener.secure.tls]
certificates = [{{ cert = "{self.certificate}", key = "{self.key}" }}]
[[route]]
path = "/push"
upstream = "push"
[[route]]
path = "/flood"
upstream = "flood"
[[route]]
upstream = "echo"
[upstream.echo]
servers = [{echo}]
[upstream.push]
servers = ["127.0.0.1:{self.backends.push}"]
[upstream.flood]
servers = ["127.0.0.1:{self.backends.flood}"]
""",
        )
        return [self.path, "run", "-c", path]
