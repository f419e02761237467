"""`make images` builds every image the same way, with labels and parts; no page names one that nobody can get."""

import json
import re
import subprocess
import sys

import pytest
import yaml

from deploy import images
from tests.deploy import manifests

pytestmark = pytest.mark.requirement("OP-3", "OP-4")


@pytest.mark.parametrize("engine", images.ENGINES)
@pytest.mark.parametrize("service", manifests.SERVICES)
def test_every_engine_builds_the_one_dockerfile_with_labels_of_the_commit(engine: str, service: str) -> None:
    plan = images.Plan.of({"ENGINE": engine, "TAG": "1.2.0", "REGISTRY": "registry.example.com/"}, "abc")
    command = plan.build(service)
    assert command[:2] == [engine, "build"]
    assert command[-1] == "."
    assert f"SERVICE={service}" in command
    assert command[command.index("--tag") + 1] == f"registry.example.com/sluiceway-{service}:1.2.0"
    labels = [command[place + 1] for place, word in enumerate(command) if word == "--label"]
    assert "org.opencontainers.image.version=1.2.0" in labels
    assert "org.opencontainers.image.revision=abc" in labels
    assert plan.commands(service) == [command]


@pytest.mark.parametrize("engine", images.ENGINES)
@pytest.mark.parametrize("platform", ["", "linux/amd64,linux/arm64"])
def test_what_is_pushed_is_what_was_built_for_one_machine_or_several(engine: str, platform: str) -> None:
    told = {"ENGINE": engine, "TAG": "1", "REGISTRY": "registry.example.com", "PUSH": "1", "PLATFORM": platform}
    build, *pushing = images.Plan.of(told, "abc").commands("gateway")
    image = "registry.example.com/sluiceway-gateway:1"
    named = "--manifest" if platform and engine != "docker" else "--tag"
    assert build[build.index(named) + 1] == image
    if platform:
        assert build[build.index("--platform") + 1] == platform
    if platform and engine == "docker":
        # It keeps no image of several platforms, so it pushes while it builds.
        assert (build[1:4], pushing) == (["buildx", "build", "--push"], [])
    elif platform:
        assert pushing == [[engine, "manifest", "push", "--all", image, f"docker://{image}"]]
    else:
        assert pushing == [[engine, "push", image]]


def test_without_an_engine_it_is_said_what_is_needed() -> None:
    ended = subprocess.run(
        [sys.executable, images.__file__],
        env={"PATH": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "docker, podman, buildah" in ended.stderr


@pytest.mark.parametrize("service", manifests.SERVICES)
def test_the_list_of_parts_has_every_pin_with_its_version(service: str) -> None:
    listed = json.loads(images.write_bill(service).read_text())
    found = {(part["name"], part["version"]) for part in listed["components"]}
    pins = (manifests.ROOT / "requirements" / f"{service}.txt").read_text()
    assert found == set(re.findall(r"^([\w.-]+)==([^ ;]+)", pins, re.MULTILINE))
    hashes = {
        one["content"] for part in listed["components"] for ref in part["externalReferences"] for one in ref["hashes"]
    }
    assert hashes == set(re.findall(r"sha256:(\w+)", pins))
    assert listed["metadata"]["component"]["name"] == f"sluiceway-{service}"


def test_no_page_and_no_manifest_names_an_image_of_ours_in_a_registry_that_is_somebodys() -> None:
    """None is published: whoever reads it could only build it."""
    pages = [manifests.ROOT / "README.md", *manifests.ROOT.glob("docs/*.md"), *manifests.K8S.rglob("*.*ml")]
    named = [
        name
        for page in pages
        for name in re.findall(r"[\w.-]+\.[a-z]+(?:/[\w.-]+)*/sluiceway-[\w-]+", page.read_text())
    ]
    assert all(name.startswith("registry.example.com/") for name in named), named


def test_an_example_of_a_pipeline_builds_and_pushes_what_make_does() -> None:
    pipeline = yaml.safe_load((manifests.ROOT / "examples" / "publish-images.yml").read_text())
    steps = [step for job in pipeline["jobs"].values() for step in job["steps"]]
    assert any("make images" in step.get("run", "") and "PUSH=1" in step["run"] for step in steps)
