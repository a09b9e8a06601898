"""Judges the manifests under deploy/: by the schemas of Kubernetes, by that of our own kind, and by rules of ours.

    manifests.py DIRECTORY-WITH-RENDERED-OVERLAYS [BINARY]

With BINARY, the program is also started as every manifest says; files that its settings name are put in place for it.
"""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

DEPLOY = Path(__file__).parent
VERSIONS = [kubernetes_validate.utils.all_versions()[0], kubernetes_validate.latest_version()]
IMAGES = {
    "registry.example.com/coreos-image-service:latest",  # Kubernetes; to be adapted
    "localhost/coreos-image-service:latest",  # podman; what deploy/container/build makes
    "quay.io/example/coreos-image-service:abcdef1",  # the templates' parameters, see below
}
# What a person, OpenShift or another program makes.
FOREIGN = {
    ("Secret", "coreos-image-service-tls"),
    ("Secret", "pull-secret"),
    ("Secret", "assisted-image-service-pull-secret"),
    ("Secret", "assisted-service-sso"),
    ("ServiceAccount", "assisted-image-service"),
    ("ServiceAccount", "coreos-image-service-operator"),
}
# What matters to us in the ConfigMap of assisted-service's on-prem pod.
ASSISTED_CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": {
    "ASSISTED_SERVICE_HOST": "127.0.0.1:8090", "ASSISTED_SERVICE_SCHEME": "http", "LISTEN_PORT": "8888"}}
# Read by the HTTP client and the TLS library.
COMMON_VARIABLES = {"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"}
# In ConfigMaps that assisted-service takes, too.
ASSISTED_VARIABLES = {
    "SERVICE_BASE_URL", "PUBLIC_CONTAINER_REGISTRIES", "AGENT_DOCKER_IMAGE", "CONTROLLER_IMAGE", "INSTALLER_IMAGE",
}
SECRET_NAME = re.compile(r"(?i)pull_?secret$|password|token$|client_secret|secret_id|dockerconfigjson")

problems = []
unchecked = {}


def problem(where, what):
    problems.append(f"{where}: {what}")


def documents(path):
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def substituted(template, where):
    """The objects of an OpenShift Template, as `oc process` would make them."""
    examples = {"IMAGE": "quay.io/example/coreos-image-service", "IMAGE_TAG": "abcdef1", "STORAGE_CLASS": "gp3",
                "IMAGE_SERVICE_BASE_URL": "https://images.example.com/api/assisted-images",
                "VAULT_ADDR": "https://vault.example.com", "VAULT_KV_MOUNT": "kv", "VAULT_KV_PATH": "assisted/pull-secret"}
    values, used = {}, set()
    for parameter in template["parameters"]:
        name = parameter["name"]
        if parameter.get("required") and name not in examples:
            problem(where, f"parameter {name} is required and has no example")
        values[name] = parameter.get("value", examples.get(name, ""))

    def value(match):
        used.add(match[1])
        if match[1] not in values:
            problem(where, f"there is no parameter {match[1]}")
        return values.get(match[1], "")

    def walk(node):
        if isinstance(node, dict):
            return {key: walk(item) for key, item in node.items()}
        if isinstance(node, list):
            return [walk(item) for item in node]
        if not isinstance(node, str):
            return node
        if whole := re.fullmatch(r"\$\{\{(\w+)\}\}", node):
            return yaml.safe_load(value(whole))
        return re.sub(r"\$\{(\w+)\}", value, node)

    objects = walk(template["objects"])
    for name in values.keys() - used:
        problem(where, f"nothing uses parameter {name}")
    return objects


def sets(rendered):
    """Objects that are applied together, by where they are from."""
    for path in sorted(rendered.glob("*.yaml")):
        yield f"kustomize {path.stem}", documents(path)
    for path in sorted(DEPLOY.glob("kustomize/*/**/*.yaml")):
        # What stands in a kustomization is judged as rendered.
        if path.name in ("cluster-pull-secret.yaml", "fill-os-images.yaml", "deployment-ref.yaml", "coreos-image-service.yaml"):
            yield str(path.relative_to(DEPLOY)), documents(path)
    for path in sorted(DEPLOY.glob("saas/*.yaml")):
        for template in documents(path):
            yield str(path.relative_to(DEPLOY)), substituted(template, path.name)
    podman = DEPLOY / "podman"
    yield "podman/pod.yml", [ASSISTED_CONFIG, *documents(podman / "releases.yml"), *documents(podman / "pod.yml")]
    yield "podman/pod-standalone.yml", documents(podman / "pod-standalone.yml")
    disconnected = [documents(path) for path in sorted((podman / "disconnected").glob("*.yml"))]
    yield "podman/disconnected", sum(disconnected, [ASSISTED_CONFIG])


def strict(schema):
    """The same schema, which forbids fields that it does not know."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(item) for key, item in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        schema.setdefault("additionalProperties", False)
    return schema


def check_schema(where, thing, own_kinds):
    kind, version = thing["kind"], thing["apiVersion"]
    name = f"{where}: {kind} {thing['metadata']['name']}"
    if schema := own_kinds.get((version, kind)):
        content = {key: value for key, value in thing.items() if key not in ("apiVersion", "kind", "metadata")}
        for error in jsonschema.Draft202012Validator(schema).iter_errors(content):
            problem(name, f"{error.json_path}: {error.message}")
        return
    for kubernetes in VERSIONS:
        try:
            kubernetes_validate.validate(thing, kubernetes, strict=True)
        except kubernetes_validate.SchemaNotFoundError:
            unchecked.setdefault(f"{kind} {version}", set()).add(where)
        except kubernetes_validate.ValidationError as error:
            problem(name, f"Kubernetes {kubernetes}: {'.'.join(map(str, error.path))}: {error.message}")


def pod_spec(thing):
    spec = thing.get("spec", {})
    if thing["kind"] == "Pod":
        return spec
    if thing["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return spec.get("template", {}).get("spec")


def is_ours(container):
    return "coreos-image-service" in container["image"]


def check_references(where, things):
    """Every name that one object uses for another."""
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in things} | FOREIGN

    def refer(kind, name, by):
        if (kind, name) not in names:
            problem(where, f"{by} refers to {kind} {name}, which nobody makes")

    workloads = [thing for thing in things if pod_spec(thing)]
    for thing in things:
        kind, by = thing["kind"], f"{thing['kind']} {thing['metadata']['name']}"
        if kind in ("RoleBinding", "ClusterRoleBinding"):
            refer(thing["roleRef"]["kind"], thing["roleRef"]["name"], by)
            for subject in thing["subjects"]:
                refer(subject["kind"], subject["name"], by)
                if not subject.get("namespace"):
                    problem(where, f"{by}: a subject without a namespace")
        if kind in ("Service", "PodDisruptionBudget", "NetworkPolicy"):
            selector = thing["spec"].get("podSelector") or thing["spec"].get("selector", {})
            labels = selector.get("matchLabels", selector)
            of_pods = [thing["spec"]["template"]["metadata"]["labels"] for thing in workloads if "template" in thing["spec"]]
            if labels != {"app": "assisted-image-service"} and not any(labels.items() <= pod.items() for pod in of_pods):
                problem(where, f"{by} selects no pod: {labels}")
        if kind == "Route":
            refer("Service", thing["spec"]["to"]["name"], by)
            ports = [port["name"] for service in things if service["kind"] == "Service" for port in service["spec"]["ports"]]
            if thing["spec"]["port"]["targetPort"] not in ports:
                problem(where, f"{by}: no such port")
        if spec := pod_spec(thing):
            if account := spec.get("serviceAccountName"):
                refer("ServiceAccount", account, by)
            claims = [claim["metadata"]["name"] for claim in thing["spec"].get("volumeClaimTemplates", [])]
            volumes = claims + [volume["name"] for volume in spec.get("volumes", [])]
            for volume in spec.get("volumes", []):
                if "secret" in volume:
                    refer("Secret", volume["secret"]["secretName"], by)
                if "configMap" in volume:
                    refer("ConfigMap", volume["configMap"]["name"], by)
            for container in spec["containers"]:
                mounted = [mount["name"] for mount in container.get("volumeMounts", [])]
                for name in set(mounted) - set(volumes):
                    problem(where, f"{by}: there is no volume {name}")
                for source in container.get("envFrom", []):
                    refer("ConfigMap", source["configMapRef"]["name"], by)
                ports = [port.get("name") for port in container.get("ports", [])]
                for probe in ("readinessProbe", "livenessProbe"):
                    if probe in container and container[probe]["httpGet"]["port"] not in ports:
                        problem(where, f"{by}: {probe} has no such port")


def check_security(where, thing):
    spec, by = pod_spec(thing), f"{where}: {thing['kind']} {thing['metadata']['name']}"
    if thing["kind"] == "ConfigMap":
        for key in filter(SECRET_NAME.search, thing.get("data", {})):
            problem(by, f"{key} belongs into a Secret")
    if not spec:
        return
    if thing["kind"] == "CronJob" and spec.get("restartPolicy") not in ("Never", "OnFailure"):
        problem(by, "jobs restart Never or OnFailure")
    pod = spec.get("securityContext", {})
    if thing["kind"] != "Pod" and not (pod.get("runAsNonRoot") and pod.get("seccompProfile") == {"type": "RuntimeDefault"}):
        problem(by, "not runAsNonRoot with RuntimeDefault")
    if "openshift" in where or "saas" in where:
        for key in {"runAsUser", "runAsGroup", "fsGroup"} & pod.keys():
            problem(by, f"{key} is for OpenShift to choose")
    for container in filter(is_ours, spec["containers"]):
        if container["image"] not in IMAGES:
            problem(by, f"another image: {container['image']}")
        context = container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        if context != wanted:
            problem(by, f"the container's security context is {context}")
        if thing["kind"] != "Pod" and "memory" not in container.get("resources", {}).get("limits", {}):
            problem(by, "no limit of memory")
        for variable in container.get("env", []):
            if SECRET_NAME.search(variable["name"]) and "value" in variable:
                problem(by, f"{variable['name']} belongs into a Secret")


def variables(container, things):
    """The environment, as far as the manifests state it."""
    configs = {thing["metadata"]["name"]: thing.get("data", {}) for thing in things if thing["kind"] == "ConfigMap"}
    environment = {}
    for source in container.get("envFrom", []):
        environment |= configs.get(source["configMapRef"]["name"], {})
    return environment | {variable["name"]: variable.get("value") for variable in container.get("env", [])}


def known_variables():
    """What the tables of the documentation list; tests of the program keep them complete."""
    tables = [DEPLOY.parent / "README.md", *(DEPLOY.parent / "docs").glob("**/*.md")]
    return COMMON_VARIABLES | {
        name for table in tables for name in re.findall(r"^\| ([A-Z][A-Z0-9_]+) \|", table.read_text(), re.M)
    }


def check_variables(where, things, known):
    for thing in things:
        for container in filter(is_ours, (pod_spec(thing) or {}).get("containers", [])):
            for name in variables(container, things).keys() - known - ASSISTED_VARIABLES:
                problem(where, f"{name} is no setting that the documentation lists")


def start(where, binary, container, things, spec):
    """Starts the program with the manifest's settings until it answers. It reaches no network."""
    configs = {thing["metadata"]["name"]: thing.get("data", {}) for thing in things if thing["kind"] == "ConfigMap"}
    with tempfile.TemporaryDirectory() as scratch, socket.socket() as free:
        scratch = Path(scratch)
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        certificate, key = scratch / "example.crt", scratch / "example.key"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=example", "-days", "1",
                        "-out", certificate, "-keyout", key], check=True, capture_output=True)
        mounts = {mount["mountPath"]: mount["name"] for mount in container.get("volumeMounts", [])}
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        # What a Secret or the pod itself says.
        environment = {name: "example" if value is None else value for name, value in variables(container, things).items()}
        for name, value in environment.items():
            place = next((place for place in mounts if value == place or value.startswith(place + "/")), None)
            if not place:
                continue
            path = environment[name] = scratch / value.lstrip("/")
            if value == place:
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            config = volumes[mounts[place]].get("configMap", {}).get("name")
            text = configs.get(config, {}).get(path.name, "")
            if "pull-secret" in value:
                text = '{"auths":{}}'
            elif value.endswith(".key"):
                text = key.read_text()
            elif value.endswith((".crt", ".pem")):
                text = certificate.read_text()
            path.write_text(text)
        # A cluster that never answers, and a way out that leads nowhere.
        (scratch / "kubeconfig").write_text(json.dumps({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}], "users": [{"name": "u", "user": {}}],
        }))
        environment |= {"LISTEN_ADDRESS": "127.0.0.1", "LISTEN_PORT": port, "OPERATOR_LISTEN_PORT": port,
                        "KUBECONFIG": scratch / "kubeconfig", "HTTP_PROXY": "http://127.0.0.1:9",
                        "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}
        if "HTTP_LISTEN_PORT" in environment:
            environment["HTTP_LISTEN_PORT"] = 0
        program = subprocess.Popen([binary, *container.get("args", [])], stderr=subprocess.PIPE, text=True,
                                   env={name: str(value) for name, value in environment.items()})
        try:
            if container.get("args") == ["pull-secret", "sync"]:
                _, errors = program.communicate(timeout=60)
                # It got as far as the network, or to the service account's token.
                if not 10 <= program.returncode <= 19:
                    problem(where, f"pull-secret sync ends with {program.returncode}:\n{errors}")
                return
            scheme = "https" if "HTTPS_CERT_FILE" in environment else "http"
            url = f"{scheme}://127.0.0.1:{port}/{'healthz' if 'args' in container else 'live'}"
            for _ in range(300):
                try:
                    urllib.request.urlopen(url, context=ssl._create_unverified_context()).close()
                    return
                except (urllib.error.URLError, ConnectionError):
                    if program.poll() is not None:
                        break
                    time.sleep(0.1)
            program.kill()
            problem(where, f"{' '.join(program.args)} does not start with these settings:\n{program.stderr.read()}")
        finally:
            program.kill()
            program.wait()


def has_command(binary, args):
    return subprocess.run([binary, *args, "--help"], capture_output=True).returncode == 0


def main(rendered, binary=None):
    own_kinds = {}
    for definition in documents(DEPLOY / "crd/coreosimageservices.yaml"):
        for version in definition["spec"]["versions"]:
            of_kind = (f"{definition['spec']['group']}/{version['name']}", definition["spec"]["names"]["kind"])
            own_kinds[of_kind] = strict(version["schema"]["openAPIV3Schema"])
    known, count, started = known_variables(), 0, 0
    binary = binary and os.path.abspath(binary)
    for where, things in sets(Path(rendered)):
        for thing in things:
            count += 1
            check_schema(where, thing, own_kinds)
            check_security(where, thing)
        check_references(where, things)
        check_variables(where, things, known)
        for thing in things if binary else []:
            for container in filter(is_ours, (pod_spec(thing) or {}).get("containers", [])):
                if not has_command(binary, args := container.get("args", [])):
                    problem(where, f"the program has no command {' '.join(args)}")
                    continue
                start(where, binary, container, things, pod_spec(thing))
                started += 1
    for kind, places in sorted(unchecked.items()):
        print(f"no schema, so only our own rules: {kind} ({', '.join(sorted(places))})")
    for text in problems:
        print(text, file=sys.stderr)
    if problems:
        sys.exit(1)
    print(f"{count} objects are valid for Kubernetes {' and '.join(VERSIONS)}")
    if binary:
        print(f"the program starts with the settings of {started} containers")


main(*sys.argv[1:])
