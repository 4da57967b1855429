#!/usr/bin/python3
"""A bill of materials of a program, as CycloneDX 1.5 JSON: sbom.py PROGRAM

Lists the Debian packages of every library that the program is linked with, and of those that it loads at their first
use (found in its text: "libcurl-gnutls.so.4"), with what these need in turn. The same program on the same system gives
the same bytes: no date, and a serial number that is made of the content.
"""

import json
import pathlib
import re
import subprocess
import sys
import uuid


def output(*argv):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False).stdout


def linked(path):
    """Files of the libraries that the loader would map."""
    return set(re.findall(r"(?:=> |^\s+)(/\S+) \(0x", output("ldd", str(path)), re.MULTILINE))


def loaded_later(path):
    names = set(re.findall(rb"(?<=\0)lib[a-z0-9_+-]+\.so\.\d+(?=\0)", pathlib.Path(path).read_bytes()))
    cache = {}
    for name, file in re.findall(r"^\s+(\S+) .* => (\S+)$", output("/sbin/ldconfig", "-p"), re.MULTILINE):
        cache.setdefault(name, file)  # the machine's own kind of library comes first
    return {cache[n.decode()] for n in names if n.decode() in cache}


def names_of(file):
    """A library is known by the path before /usr was merged, or after."""
    return {file, str(pathlib.Path(file).resolve()), file.removeprefix("/usr"), "/usr" + file}


def packages_of(files):
    """The packages, and the files that are of none."""
    lines = output("dpkg", "-S", *sorted(set().union(*map(names_of, files))))
    owner = {path: who.split(",")[0] for who, path in re.findall(r"^(\S[^\n]*?): (/\S+)$", lines, re.MULTILINE)}
    packages, unknown = set(), []
    for file in sorted(files):
        found = [owner[name] for name in names_of(file) if name in owner]
        packages.update(found[:1])
        unknown += [] if found else [file]
    return sorted(packages), unknown


def component(package):
    shown = output("dpkg-query", "-W", "-f", "${Package}\n${Version}\n${Architecture}\n${source:Package}\n${source:Version}", package)
    name, version, architecture, source, source_version = shown.split("\n")
    release = dict(line.split("=", 1) for line in pathlib.Path("/etc/os-release").read_text().splitlines() if "=" in line)
    distro = f"{release['ID']}-{release.get('VERSION_ID', '').strip(chr(34))}"
    return {
        "type": "library",
        "bom-ref": f"{name}@{version}",
        "name": name,
        "version": version,
        "purl": f"pkg:deb/debian/{name}@{version}?arch={architecture}&distro={distro}",
        "properties": [{"name": "debian:source", "value": f"{source} {source_version}"}],
    }


def main():
    program = pathlib.Path(sys.argv[1])
    files = linked(program)
    at_first_use = loaded_later(program)
    for library in at_first_use:
        files |= {library} | linked(library)
    packages, unknown = packages_of(files)
    if not packages or unknown:
        sys.exit(f"sbom: of no package: {' '.join(unknown) or program}")
    components = [component(p) for p in packages]
    version = output(str(program), "--version").split()[2]
    # By libraries alone, so that the same program has the same number.
    serial = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([program.name, version, components]))
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {
            "component": {"type": "application", "bom-ref": program.name, "name": program.name, "version": version,
                          "licenses": [{"license": {"id": "Apache-2.0"}}]},
        },
        "components": components,
        "dependencies": [{"ref": program.name, "dependsOn": [c["bom-ref"] for c in components]}],
    }
    json.dump(bill, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
