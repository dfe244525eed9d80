"""The manifests: valid for Kubernetes, and they fit together, our commands and the Collector's configurations."""

import os
import subprocess
from typing import Any

import pytest

from opentelemetry_instrumentation_corevital import environment_variables
from tests.support.collectors import FOLDER, ROOT
from tests.support.deployment_files import KUBERNETES, OUR_VARIABLES, manifests, parsed, read_by_collectors
from tests.support.environments import python_with

VERSIONS = ("1.30", "1.34")
README = (KUBERNETES / "README.md").read_text(encoding="utf-8")
OBJECTS = manifests()


def of_kind(*kinds: str) -> list[dict[str, Any]]:
    return [each for each in OBJECTS if each["kind"] in kinds]


def templates() -> dict[str, dict[str, Any]]:
    """Return the template of each pod, by its label."""
    found = [each["spec"]["template"] for each in of_kind("DaemonSet", "StatefulSet")]
    found += [each["spec"]["jobTemplate"]["spec"]["template"] for each in of_kind("CronJob")]
    return {each["metadata"]["labels"]["app.kubernetes.io/name"]: each for each in found}


def containers() -> list[dict[str, Any]]:
    return [container for each in templates().values() for container in each["spec"]["containers"]]


def collectors() -> list[dict[str, Any]]:
    return [each for each in containers() if each["image"].startswith("otel/")]


@pytest.mark.acceptance
def test_the_manifests_are_valid() -> None:
    """kubernetes-validate has the schemas of every version of Kubernetes: 108 MB in an environment of its own."""
    code = (
        "import sys, yaml, kubernetes_validate as k\n"
        "for path in sys.argv[2:]:\n"
        "    for each in yaml.safe_load_all(open(path)):\n"
        "        k.validate(each, sys.argv[1], strict=True); print(each['kind'])"
    )
    for version in VERSIONS:
        done = subprocess.run(
            [python_with("kubernetes-validate==1.37.0"), "-c", code, version, *sorted(KUBERNETES.glob("*.yaml"))],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [each["kind"] for each in OBJECTS]


def test_every_object_is_in_the_namespace() -> None:
    for each in OBJECTS:
        assert each["kind"] == "Namespace" or each["metadata"]["namespace"] == "corevital"


def test_commands_are_ours_and_on_one_volume() -> None:
    ours = [each for each in containers() if each["image"].startswith("corevital:")]
    assert [each["args"][0] for each in ours if "command" not in each] == ["collect", "dashboard"]
    for each in ours:
        mounts = {mount["mountPath"] for mount in each["volumeMounts"]}
        if "command" in each:
            (line,) = each["args"]
            words = line.split(" && ")[0].replace('"/backups/$(date +%F).db"', "/backups/today.db").split()
            assert words[0] == "corevital"
            assert parsed(words[1:])["overwrite"] is True
            assert {"/backups", "/data"} <= mounts
            continue
        options = parsed(each["args"])
        assert str(options["db"]).startswith("/data/")
        assert int(options["port"]) in {port["containerPort"] for port in each["ports"]}
        assert "/data" in mounts
    (store,) = [each for each in of_kind("StatefulSet") if each["metadata"]["name"] == "corevital-store"]
    assert store["spec"]["replicas"] == 1, "SQLite's file has one machine"


def test_a_configuration_that_a_collector_reads_comes_with_the_config_map() -> None:
    for each in collectors():
        files = [argument.removeprefix("--config=/etc/corevital/") for argument in each["args"]]
        assert files[0] == "collector-config.yaml"
        for name in files:
            path = f"{'' if name == files[0] else 'collector/'}{name}"
            assert (ROOT / path).is_file()
            assert f"--from-file={path}" in README


def test_variables_are_read_and_secrets_are_made() -> None:
    known = read_by_collectors() | OUR_VARIABLES | set(vars(environment_variables))
    for each in containers():
        for variable in each.get("env", ()):
            assert variable["name"] in known
            if "valueFrom" in variable:
                reference = variable["valueFrom"]["secretKeyRef"]
                assert reference["name"] == "corevital"
                assert f"--from-literal={reference['key']}=" in README
    tokens = {name for each in containers() for name in (v["name"] for v in each.get("env", ())) if "TOKEN" in name}
    assert tokens == OUR_VARIABLES, "nothing that listens for others is without a token"


def test_selectors_and_ports_lead_to_pods() -> None:
    pods = templates()
    for service in of_kind("Service"):
        spec = pods[service["spec"]["selector"]["app.kubernetes.io/name"]]["spec"]
        names = {port["name"]: port["containerPort"] for each in spec["containers"] for port in each.get("ports", ())}
        assert all(names[port["targetPort"]] == port["port"] for port in service["spec"]["ports"])
    for each in of_kind("DaemonSet", "StatefulSet"):
        assert each["spec"]["selector"]["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
        if "serviceName" in each["spec"]:
            assert each["spec"]["serviceName"] in {service["metadata"]["name"] for service in of_kind("Service")}
    for each in containers():
        ports = {port["name"] for port in each.get("ports", ())}
        for probe in (each.get("readinessProbe"), each.get("livenessProbe")):
            if probe is not None:
                assert next(iter(probe.values()))["port"] in ports
    gateways = next(v["value"] for each in collectors() for v in each["env"] if v["name"] == "COREVITAL_GATEWAYS")
    assert "corevital-gateways.corevital" in gateways
    claims = [
        volume["persistentVolumeClaim"]["claimName"] for volume in pods["corevital-backup"]["spec"]["volumes"][:2]
    ]
    assert claims == ["runs-corevital-store-0", "corevital-backups"]


def test_every_pod_keeps_to_the_namespaces_pod_security() -> None:
    (namespace,) = of_kind("Namespace")
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for template in templates().values():
        spec = template["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any("hostPath" in volume for volume in spec["volumes"])
        for each in spec["containers"]:
            assert each["securityContext"]["allowPrivilegeEscalation"] is False
            assert each["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert each["resources"]["limits"]["memory"]


def allowed(sender: str | None, receiver: str, port: int) -> bool:
    """Tell whether the policies let a pod of ours, or one of the namespace named `@NAMESPACE`, reach another's port."""
    policies = of_kind("NetworkPolicy")

    def chosen(policy: dict[str, Any], pod: str) -> bool:
        selector = policy["spec"]["podSelector"]
        if "matchExpressions" in selector:
            return pod in selector["matchExpressions"][0]["values"]
        return selector.get("matchLabels", {}).get("app.kubernetes.io/name", pod) == pod

    def peer(rule: dict[str, Any], pod: str) -> bool:
        if "podSelector" in rule:
            return bool(rule["podSelector"]["matchLabels"]["app.kubernetes.io/name"] == pod)
        labels = rule["namespaceSelector"]["matchLabels"]
        return pod.removeprefix("@") in (labels.get("kubernetes.io/metadata.name"), *labels)

    def lets(direction: str, ends: str, mine: str, other: str) -> bool:
        rules = [
            rule
            for policy in policies
            if chosen(policy, mine) and direction in policy["spec"]["policyTypes"]
            for rule in policy["spec"].get(direction.lower(), ())
        ]
        return any(
            any(peer(each, other) for each in rule[ends]) and port in {each["port"] for each in rule["ports"]}
            for rule in rules
        )

    assert sender is not None
    leaves = sender.startswith("@") or lets("Egress", "to", sender, receiver)
    arrives = receiver.startswith("@") or lets("Ingress", "from", receiver, sender)
    return leaves and arrives


AGENT, GATEWAY, STORE, BACKUP = (f"corevital-{name}" for name in ("agent", "gateway", "store", "backup"))
WAYS = {
    ("@corevital", AGENT, 4317),
    ("@corevital", AGENT, 4318),
    ("@monitoring", AGENT, 8888),
    (AGENT, GATEWAY, 4317),
    ("@monitoring", GATEWAY, 8888),
    ("@monitoring", GATEWAY, 8889),
    (GATEWAY, STORE, 4418),
    ("@monitoring", STORE, 4418),
    ("@ingress-nginx", STORE, 4419),
    (AGENT, "@kube-system", 53),
    (GATEWAY, "@kube-system", 53),
}


def test_the_network_policy_lets_pass_what_has_to_and_nothing_else() -> None:
    pods = [AGENT, GATEWAY, STORE, BACKUP]
    outside = ["@corevital", "@monitoring", "@ingress-nginx", "@kube-system", "@default"]
    ports = [53, 4317, 4318, 4417, 4418, 4419, 8888, 8889, 13133, 443]
    found = {
        (sender, receiver, port)
        for sender in (*pods, *outside)
        for receiver in (*pods, *outside)
        if not (sender.startswith("@") and receiver.startswith("@"))
        for port in ports
        if allowed(sender, receiver, port)
    }
    assert found == WAYS


@pytest.mark.wire
@pytest.mark.parametrize("container", collectors(), ids=lambda each: "gateway" if len(each["env"]) > 9 else "agent")
def test_a_collector_of_the_manifests_is_valid(otelcol: str, container: dict[str, Any]) -> None:
    names = [argument.removeprefix("--config=/etc/corevital/") for argument in container["args"]]
    paths = [ROOT / name if name == "collector-config.yaml" else FOLDER / name for name in names]
    given = {variable["name"]: variable.get("value", "secret") for variable in container["env"]}
    found = subprocess.run(
        [otelcol, "validate", *(word for path in paths for word in ("--config", str(path)))],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **given},
        check=False,
    )
    assert (found.returncode, found.stderr) == (0, "")
