"""Each service has an image of its own: two stages, and one for the page; pins before code, a number for a user,
nothing but the venv.

One Dockerfile makes all of them; it is read here as it is for each service. `test_image_build` runs it.
"""

import re

import pytest

from tests.deploy import manifests

pytestmark = [pytest.mark.requirement("OP-3"), pytest.mark.parametrize("service", manifests.SERVICES)]


def position(instructions: list[list[str]], *words: str) -> int:
    return next(n for n, instruction in enumerate(instructions) if all(word in instruction for word in words))


def stage_named(service: str, name: str) -> list[list[str]]:
    instructions = manifests.dockerfile(service)
    start = next(
        n for n, instruction in enumerate(instructions) if instruction[0] == "FROM" and instruction[-1] == name
    )
    rest = instructions[start + 1 :]
    return rest[: next(n for n, instruction in enumerate(rest) if instruction[0] == "FROM")]


def last_stage(service: str) -> list[list[str]]:
    instructions = manifests.dockerfile(service)
    start = max(n for n, instruction in enumerate(instructions) if instruction[0] == "FROM")
    return instructions[start:]


def test_there_are_two_stages_on_one_base_and_one_for_the_page(service: str) -> None:
    stages = [i for i in manifests.dockerfile(service) if i[0] == "FROM"]
    assert [stage[3:] for stage in stages] == [["page"], ["build"], []]
    assert {stage[1] for stage in stages} == {"${PYTHON_IMAGE}"}


def test_the_page_is_built_from_its_pins_for_the_gateway_alone_and_is_part_of_its_wheel(service: str) -> None:
    page = stage_named(service, "page")
    made = position(page, "RUN", "--require-hashes", "/src/requirements/web.txt", "ci", "build;")
    assert position(page, "requirements/web.txt", "COPY") < position(page, "web", "COPY") < made
    build = stage_named(service, "build")
    copied = position(build, "COPY", "--from=page", "/src/page")
    moved = position(build, "RUN", "/src/page", "/src/services/gateway/src/gateway/page;")
    assert position(build, "COPY", f"services/{service}") < copied < moved < position(build, "wheel")
    for step in (page[made], build[moved]):
        assert f'"{service}" = gateway ]' in " ".join(step)


def test_pins_are_installed_before_code_is_copied_and_code_without_an_index(service: str) -> None:
    build = stage_named(service, "build")
    pins = position(build, "COPY", f"requirements/{service}.txt")
    installed = position(build, "--require-hashes", f"/src/requirements/{service}.txt")
    code = [n for n, i in enumerate(build) if i[0] == "COPY" and len(i) == 3 and "requirements" not in i[1]]
    built = position(build, "wheel", "--no-deps", *(f"/src/{name}" for name in manifests.own_packages(service)))
    assert pins < installed < min(code)
    assert max(code) < built
    assert built == position(build, "--no-index", "--find-links", f"sluiceway-{service}")


def test_what_it_copies_is_let_through_to_the_builder(service: str) -> None:
    let_through = (manifests.ROOT / ".dockerignore").read_text().splitlines()
    copied = {source for i in manifests.dockerfile(service) if i[0] == "COPY" for source in i[1:-1]}
    assert {f"!{source.split('/')[0]}" for source in copied if source[0] not in "-/"} <= set(let_through)


def test_its_own_packages_are_copied_whole_and_no_other_service(service: str) -> None:
    copied = {i[1] for i in stage_named(service, "build") if i[0] == "COPY" and len(i) == 3}
    code = {path for path in copied if not path.startswith("requirements/")}
    assert code == {"shared", "llm", f"services/{service}"}
    assert code >= set(manifests.own_packages(service))


def test_the_pins_exist_and_every_one_has_its_hash(service: str) -> None:
    for name in ("build", service):
        text = (manifests.ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
        pins = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]
        assert pins
        assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)


def test_the_last_stage_copies_the_venv_alone_and_runs_nothing(service: str) -> None:
    stage = last_stage(service)
    copied = [i for i in stage if i[0] in {"COPY", "ADD"}]
    assert copied == [["COPY", "--from=build", "/opt/sluiceway", "/opt/sluiceway"]]
    assert not [i for i in stage if i[0] == "RUN"]


def test_it_runs_as_a_numbered_user_that_is_not_root(service: str) -> None:
    (user,) = (i[1] for i in last_stage(service) if i[0] == "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_it_starts_the_console_script_without_a_shell_between(service: str) -> None:
    (command,) = (i for i in last_stage(service) if i[0] == "CMD")
    script = f"sluiceway-{service}"
    assert command == ["CMD", '["sluiceway-service"]']
    assert position(manifests.dockerfile(service), "ln", "-s", script, "/opt/sluiceway/bin/sluiceway-service")
    assert script in manifests.project(manifests.ROOT / "services" / service)["scripts"]


@pytest.mark.parametrize("heading", ["Reads", "Writes", "Promises", "Needs", "Settings", "Health"])
def test_its_page_says_what_it_reads_writes_promises_and_needs(service: str, heading: str) -> None:
    page = (manifests.ROOT / "services" / service / "README.md").read_text()
    assert re.search(rf"^## {heading}$", page, re.MULTILINE)


def test_its_page_names_every_setting_and_no_other(service: str) -> None:
    page = (manifests.ROOT / "services" / service / "README.md").read_text()
    section = page.partition("## Settings\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    named = [name for row in rows for name in re.findall(r"`([A-Z_]+)`", row)]
    assert sorted(named) == sorted(field.upper() for field in manifests.settings(service).model_fields)
