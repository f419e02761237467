"""`docker-compose.yml` is valid, brings up the whole system, and says clearly what it is not told."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from compose_spec import PyCompose
from sluiceway.process.end_limit import AFTER_DRAIN_SECONDS

from tests.deploy import manifests

pytestmark = pytest.mark.requirement("OP-4")

MODEL_SERVER = {"OPENAI_BASE_URL": "http://model.example/v1", "OPENAI_API_KEY": "any-word", "MODEL": "a-model"}
SESSION_SECRETS = json.dumps(["a secret that signs cookies, of 32 bytes or more"])
TOLD = {**MODEL_SERVER, "SESSION_SECRETS": SESSION_SECRETS}
_SBIN = f"{os.environ.get('PATH', '')}:/usr/sbin"
SETTINGS = {service: manifests.settings(service) for service in manifests.SERVICES}


def services() -> dict[str, manifests.Document]:
    found: dict[str, manifests.Document] = manifests.compose(TOLD)["services"]
    return found


def seconds(duration: str) -> int:
    assert duration.endswith("s")
    return int(duration[:-1])


def test_the_file_follows_the_compose_specification() -> None:
    document = manifests.compose(TOLD)
    # The parser takes addresses alone; "host-gateway" is the engine's word for the one of its host.
    for service in document["services"].values():
        if "extra_hosts" in service:
            service["extra_hosts"] = ["host.docker.internal:127.0.0.1"]
    parsed = PyCompose.from_json(json.dumps(document))
    others = {"valkey", "postgres", "proxy", "model", "prometheus", "grafana", "told", "migrate"}
    assert set(parsed.service_names()) == {*others, *manifests.SERVICES}


def test_the_file_can_be_read_without_any_variable_so_that_ps_logs_and_down_work() -> None:
    assert manifests.compose({})["services"].keys() == services().keys()


def _say_what_is_missing(told: dict[str, str]) -> subprocess.CompletedProcess[str]:
    service = manifests.compose(told)["services"]["told"]
    _, *arguments = service["command"]
    environment = {**service.get("environment", {}), "PATH": os.environ["PATH"]}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("name", TOLD)
def test_a_missing_word_about_the_model_server_or_a_missing_secret_is_asked_for_by_name(name: str) -> None:
    ended = _say_what_is_missing({key: value for key, value in TOLD.items() if key != name})
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(f": {name}")
    assert ".env.example" in ended.stderr
    assert _say_what_is_missing(TOLD).returncode == 0


def test_nothing_of_ours_starts_before_that_was_said() -> None:
    assert services()["migrate"]["depends_on"]["told"] == {"condition": "service_completed_successfully"}
    assert services()["told"]["restart"] == "no"


def test_the_example_of_an_env_file_has_every_variable_and_no_other() -> None:
    text = (manifests.ROOT / "docker-compose.yml").read_text()
    variables = {*re.findall(r"\$\{([A-Z_]+)", text), *re.findall(r"^ +([A-Z_]+):$", text, re.MULTILINE)}
    example = (manifests.ROOT / ".env.example").read_text()
    listed = re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE)
    assert sorted(listed) == sorted(variables)
    assert {name for name in listed if re.search(rf"^{name}=", example, re.MULTILINE)} == set(TOLD)


@pytest.mark.parametrize("service", SETTINGS)
def test_every_variable_is_a_setting_of_its_service(service: str) -> None:
    known = {field.upper() for field in SETTINGS[service].model_fields}
    assert set(services()[service]["environment"]) <= known


@pytest.mark.parametrize("service", SETTINGS)
def test_the_values_are_accepted_by_the_service(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in services()[service]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = SETTINGS[service]()
    assert settings.model_dump()["redis_url"] == "redis://valkey:6379/0"


WORDS = re.compile(r"\b[A-Z]+(?:_[A-Z]+)+\b")
OPTIONAL = {
    "JWT_SECRET": ("gateway",),
    "OIDC_ISSUER": ("gateway",),
    "JWKS_URL": ("gateway",),
    "OIDC_CLIENT_ID": ("gateway",),
    "OIDC_CLIENT_SECRET": ("gateway",),
    "JWT_AUDIENCE": ("gateway",),
    "JWT_AUTHORIZED_PARTIES": ("gateway",),
    "JWT_ISSUER": ("gateway",),
    "JWT_USER_CLAIM": ("gateway",),
    "JWT_ORG_CLAIM": ("gateway",),
    "JWT_ROLES_CLAIM": ("gateway",),
    "OPS_LOOK_ROLES": ("gateway",),
    "OPS_ACT_ROLES": ("gateway",),
    "ALLOWED_HOSTS": ("gateway",),
    "CORS_ORIGINS": ("gateway",),
    "MODELS": ("gateway", "chat-worker"),
    "AUTH_REQUIRED": ("gateway",),
    "API_KEYS": ("gateway",),
    "WEBHOOK_SECRETS": ("gateway", "tool-runner"),
    "HTTP_OPERATIONS": ("tool-runner",),
    "MCP_SERVERS": ("tool-runner",),
    "TOOLS_DISABLED": ("tool-runner",),
    "TOOLS_NEEDING_APPROVAL": ("tool-runner",),
    "TOOLS_IN_BACKGROUND": ("tool-runner",),
    "OFFER_TOOLS": ("chat-worker",),
    "DIRECT_TOOLS": ("chat-worker",),
    "MODEL_CONTINUATION": ("chat-worker",),
    "TITLES": ("chat-worker",),
    "TITLE_MODEL": ("chat-worker",),
    "GREET_NEWCOMERS": ("chat-worker",),
    "LANGFUSE_PROMPT": ("chat-worker",),
    "LANGFUSE_LABEL": ("chat-worker",),
    "LANGFUSE_BASE_URL": ("chat-worker",),
    "LANGFUSE_PUBLIC_KEY": ("chat-worker",),
    "LANGFUSE_SECRET_KEY": ("chat-worker",),
    "MODEL_WINDOW_TOKENS": ("chat-worker",),
    "MAX_CONTEXT_TOKENS": ("chat-worker",),
    "COMPACTION": ("chat-worker",),
    "SUMMARY_MODEL": ("chat-worker",),
    "MAX_ANSWER_CHARS": ("chat-worker",),
    "MODEL_DIALECT": ("chat-worker", "tool-runner"),
    "MODEL_OPTIONS": ("chat-worker", "tool-runner"),
    "MODEL_PATIENCE_SECONDS": ("chat-worker", "tool-runner"),
    "MODEL_FALLBACK": ("chat-worker", "tool-runner"),
    "MODEL_REQUESTS_PER_MINUTE": ("chat-worker", "tool-runner"),
    "MODEL_TOKENS_PER_MINUTE": ("chat-worker", "tool-runner"),
    "MODEL_USER": ("chat-worker", "tool-runner"),
    "MODEL_PRICES": ("chat-worker", "tool-runner"),
    "MODEL_PRICE_PROVIDER": ("chat-worker", "tool-runner"),
    "DAILY_TOKENS_PER_USER": ("gateway",),
    "DAILY_COST_PER_USER": ("gateway",),
    "BUDGET_REACHED": ("gateway",),
    "OPERATION_CLAIM_SECONDS": ("completion-consumer",),
    "TURN_DEADLINE_SECONDS": ("completion-consumer",),
    "AGENT_SILENCE_SECONDS": ("completion-consumer",),
    "DATABASE_DIRECT_URL": ("migrate", "gateway", "chat-worker", "tool-runner", "completion-consumer"),
    "QUEUE_PARTITIONS": ("migrate", "gateway", "chat-worker", "tool-runner", "completion-consumer"),
    "ORG_WEIGHTS": ("migrate", "gateway", "chat-worker", "tool-runner", "completion-consumer"),
    "LIVE_TTL_SECONDS": ("migrate", "gateway", "chat-worker", "tool-runner", "completion-consumer"),
    "RETENTION_SECONDS": ("migrate", "gateway", "chat-worker", "tool-runner", "completion-consumer"),
}


@pytest.mark.parametrize("name", OPTIONAL)
def test_what_may_be_told_reaches_the_services_that_need_it_alone_and_is_absent_otherwise(name: str) -> None:
    told = manifests.compose({**TOLD, name: "a word"})["services"]
    assert {service for service in told if name in told[service].get("environment", {})} == set(OPTIONAL[name])
    assert all(name not in service.get("environment", {}) for service in services().values())


def test_what_the_security_page_sets_up_can_be_said_here() -> None:
    """Who calls at each kind of identity provider, who is an operator, and each limit."""
    known = {field.upper() for field in SETTINGS["gateway"].model_fields}
    page = (manifests.ROOT / "docs" / "security.md").read_text()
    rows = re.findall(r"^\| (?:Auth0|Keycloak|Entra|Supabase|Clerk|`[A-Z_]+`).*$", page, re.MULTILINE)
    rows += re.findall(r"Roles make operators \([^)]*\)", page)
    words = {name for row in rows for name in WORDS.findall(row)} & known
    assert {"JWT_ORG_CLAIM", "OPS_ACT_ROLES", "MAX_TURNS_PER_ORG", "DAILY_COST_PER_USER"} <= words
    told = manifests.compose({**TOLD, **dict.fromkeys(words, "a word")})["services"]["gateway"]["environment"]
    assert {name for name in words if name not in told} == set()


def test_outside_services_are_told_an_address_that_the_gateway_has() -> None:
    gateway = services()["gateway"]["environment"]
    assert services()["tool-runner"]["environment"]["PUBLIC_URL"] == f"http://gateway:{gateway['PORT']}"
    told = manifests.compose({**TOLD, "PUBLIC_URL": "https://chat.example.com"})["services"]
    assert told["tool-runner"]["environment"]["PUBLIC_URL"] == "https://chat.example.com"
    assert told["gateway"]["environment"]["PUBLIC_URL"] == "https://chat.example.com"


@pytest.mark.parametrize("service", SETTINGS)
def test_a_service_gets_more_time_than_it_needs_to_drain(service: str) -> None:
    told = services()[service]["environment"].get("DRAIN_SECONDS")
    drain = float(told or SETTINGS[service].model_fields["drain_seconds"].get_default())
    assert seconds(services()[service]["stop_grace_period"]) >= drain + AFTER_DRAIN_SECONDS


@pytest.mark.parametrize("service", SETTINGS)
def test_a_service_starts_when_the_schema_and_what_it_stands_on_are_there(service: str) -> None:
    assert services()[service]["depends_on"] == {
        "valkey": {"condition": "service_healthy"},
        "postgres": {"condition": "service_healthy"},
        "migrate": {"condition": "service_completed_successfully"},
    }


def test_the_migration_runs_once_and_the_services_leave_the_schema_alone() -> None:
    assert services()["migrate"]["command"] == ["python", "-m", "sluiceway.migrate"]
    assert services()["migrate"]["restart"] == "no"
    assert all(services()[name]["environment"]["MIGRATE_ON_START"] == "false" for name in SETTINGS)


def test_its_valkey_is_one_that_the_services_take() -> None:
    assert dict(pairwise(services()["valkey"]["command"]))["--maxmemory-policy"] == "noeviction"


def test_everything_but_the_one_shot_says_how_it_is() -> None:
    assert {name for name, service in services().items() if "healthcheck" not in service} == {"told", "migrate"}


def test_a_gateway_is_healthy_though_no_worker_is_and_a_worker_when_it_works() -> None:
    """Else a proxy would have nobody to send people to, who are told why they wait."""
    for service in manifests.SERVICES:
        (asked,) = re.findall(r"/(healthz|readyz)([^']*)", str(services()[service]["healthcheck"]["test"]))
        assert asked == ("readyz", "?scope=gateway" if service == "gateway" else "")


def test_every_dollar_is_a_variable_of_the_file_or_one_that_a_command_gets() -> None:
    """Compose would fill in $NAME, too, and anything else is an error to it."""
    text = (manifests.ROOT / "docker-compose.yml").read_text()
    assert "$" not in re.sub(r"\$\$|\$\{[A-Z_]+", "", text)


def test_podman_can_ask_how_they_are_as_well() -> None:
    """Before 5 it splits the words of a list at their spaces."""
    asked = [service["healthcheck"]["test"] for service in services().values() if "healthcheck" in service]
    assert [words for words in asked if isinstance(words, list) and " " in "".join(words)] == []


@pytest.mark.parametrize("service", manifests.SERVICES)
def test_every_service_can_be_scaled(service: str) -> None:
    assert not {"container_name", "hostname", "ports"} & set(services()[service])


def test_only_the_proxy_has_a_port_on_the_host_and_only_for_this_machine() -> None:
    ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert ports.pop("proxy") == ["127.0.0.1:8000:8000"]
    for name, asked in ports.items():
        assert services()[name]["profiles"] == ["observability"]
        assert all(port.startswith("127.0.0.1:") for port in asked)


def test_the_proxy_finds_all_gateways_and_lets_an_answer_stream() -> None:
    (mounted,) = services()["proxy"]["volumes"]
    configuration = (manifests.ROOT / mounted.partition(":")[0]).read_text()
    assert f"http://gateway:{services()['gateway']['environment']['PORT']};" in configuration
    assert re.search(r"^\s*proxy_buffering off;", configuration, re.MULTILINE)
    # 0: no limit. A smaller one than that of files would refuse them in a page of nginx's own.
    assert re.search(r"^\s*client_max_body_size 0;", configuration, re.MULTILINE)
    (timeout,) = re.findall(r"proxy_read_timeout (\d+)s;", configuration)
    assert int(timeout) > 3 * SETTINGS["gateway"].model_fields["heartbeat_seconds"].get_default()


_RESOLV_CONF = {
    "docker": ("nameserver 127.0.0.11\noptions ndots:0\n", "127.0.0.11"),
    # Names of the network are known to the first alone, and nginx would ask all in turn.
    "podman": ("search dns.podman\nnameserver 10.89.0.1\nnameserver 9.9.9.9\n", "10.89.0.1"),
    "IPv6": ("nameserver fd00::1\n", "[fd00::1]"),
}


def _resolver(resolv_conf: str, folder: Path) -> Path:
    """What the proxy's start command writes for nginx."""
    (folder / "resolv.conf").write_text(resolv_conf)
    shell, option, script = services()["proxy"]["command"]
    assert script.rstrip().endswith('\nexec nginx -g "daemon off;"')
    # Two dollars are one to compose.
    there = script.replace("$$", "$").replace("/tmp/", f"{folder}/").replace("/etc/", f"{folder}/")
    subprocess.run([shell, option, there.rpartition("exec")[0]], timeout=60, check=True)
    return folder / "resolver.conf"


@pytest.mark.parametrize("engine", _RESOLV_CONF)
def test_the_proxy_asks_the_name_server_of_its_engine_and_finds_a_new_gateway_soon(engine: str, tmp_path: Path) -> None:
    resolv_conf, address = _RESOLV_CONF[engine]
    (asked, valid) = re.findall(r"^resolver (\S+) valid=(\d+)s;$", _resolver(resolv_conf, tmp_path).read_text())[0]
    assert asked == address
    assert int(valid) < SETTINGS["gateway"].model_fields["drain_seconds"].get_default()


@pytest.mark.skipif(shutil.which("nginx", path=_SBIN) is None, reason="no nginx here to read the proxy's configuration")
def test_the_proxys_configuration_is_one_that_nginx_takes(tmp_path: Path) -> None:
    whole, proxy = tmp_path / "nginx.conf", tmp_path / "proxy.conf"
    written = (manifests.ROOT / "deploy" / "compose" / "proxy.conf").read_text()
    resolver = _resolver(_RESOLV_CONF["podman"][0], tmp_path)
    assert "include /tmp/resolver.conf;" in written
    proxy.write_text(written.replace("/tmp/resolver.conf", str(resolver)))
    paths = f"pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}"
    whole.write_text(f"{paths} http {{ access_log off; include {proxy}; }}")
    tried = [str(shutil.which("nginx", path=_SBIN)), "-t", "-c", str(whole)]
    assert subprocess.run(tried, capture_output=True, timeout=60, check=False).returncode == 0


def test_prometheus_finds_every_service_by_the_name_that_it_has_here() -> None:
    prometheus = services()["prometheus"]
    folder, inside, _ = prometheus["volumes"][0].split(":")
    (file,) = (word.partition("=")[2] for word in prometheus["command"] if word.startswith("--config.file="))
    told = yaml.safe_load((manifests.ROOT / folder / Path(file).relative_to(inside)).read_text())
    asked = {
        (name, where["port"])
        for job in told["scrape_configs"]
        for where in job["dns_sd_configs"]
        for name in where["names"]
    }
    environments = {name: services()[name]["environment"] for name in SETTINGS}
    assert asked == {(name, int(one.get("PORT") or one["HEALTH_PORT"])) for name, one in environments.items()}


def test_grafana_begins_with_the_dashboard_and_with_that_prometheus() -> None:
    mounted = {inside: manifests.ROOT / outside for outside, inside in _mounts("grafana")}
    provisioning = mounted["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    assert (source["type"], source["url"], source["isDefault"]) == ("prometheus", "http://prometheus:9090", True)
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "sluiceway.yaml").read_text())["providers"]
    shown = [path for inside, path in mounted.items() if inside.startswith(f"{provider['options']['path']}/")]
    dashboard = json.loads(shown[0].read_text())
    # It asks for a data source by its kind alone, so the only one is taken.
    assert [one["query"] for one in dashboard["templating"]["list"]] == [source["type"]]
    home = services()["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert mounted[home] in shown


def _mounts(service: str) -> Iterator[tuple[str, str]]:
    """(path in the repository, path in the container)."""
    for volume in services()[service]["volumes"]:
        outside, inside, *_ = volume.split(":")
        if outside.startswith("./"):
            yield outside, inside


_PROMTOOL = shutil.which("promtool")


@pytest.mark.skipif(
    _PROMTOOL is None, reason="NO PROMTOOL HERE to read Prometheus's configuration (Debian: prometheus)"
)
def test_prometheuss_configuration_is_one_that_it_takes() -> None:
    told = manifests.ROOT / "deploy" / "observability" / "prometheus.yaml"
    checked = subprocess.run(
        [str(_PROMTOOL), "check", "config", str(told)], capture_output=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stderr


def test_a_model_of_this_machine_is_there_for_who_asks_for_it_alone() -> None:
    model = services()["model"]
    assert model["profiles"] == ["local-model"]
    assert "http://model:8080/v1" in (manifests.ROOT / ".env.example").read_text()


def test_our_own_containers_are_read_only_and_without_rights() -> None:
    for name in ("told", "migrate", "proxy", *SETTINGS):
        service = services()[name]
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_images_are_built_by_the_one_dockerfile_with_the_name_of_the_service() -> None:
    for name in ("migrate", *SETTINGS):
        service = services()[name]
        built = service["build"]["args"]["SERVICE"]
        assert (manifests.ROOT / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert built == ("gateway" if name == "migrate" else name)
        assert service["image"] == f"sluiceway-{built}:dev"
