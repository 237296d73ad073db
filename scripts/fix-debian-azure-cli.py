#!/usr/bin/python3
"""Repairs Debian 12's azure-cli 2.45.0, whose libraries are older than itself.

The CLI asks its Python libraries for API versions that Debian's python3-azure
20230112 does not have, and every `az vm`, `az vmss`, `az image` and most
`az network` commands end in ModuleNotFoundError:

  compute  2022-11-01 is missing; 2022-08-01 has the same shape, so it is copied
           under the new name.
  network  2022-01-01 is missing; the library has merged its newest versions
           into one client, which is taught to answer to, and to send, this one.
  role     the CLI reads client.config, which this library calls client._config.

Every change leaves a file alone that has it already, so running this again is
harmless. Any other azure-cli is left as it is.

usage: fix-debian-azure-cli.py [DIST_PACKAGES]
"""

import compileall
import os
import pathlib
import re
import shutil
import subprocess
import sys

PACKAGES = pathlib.Path('/usr/lib/python3/dist-packages')
BROKEN = {'azure-cli': '2.45.0-', 'python3-azure': '20230112+git-'}


def installed(package):
    """The installed version of a Debian package, or an empty string."""
    done = subprocess.run(['dpkg-query', '-W', '-f', '${db:Status-Status} ${Version}', package],
                          capture_output=True, text=True, check=False)
    status, _, version = done.stdout.partition(' ')
    return version if status == 'installed' else ''


def write(path, text):
    """Replaces a file whole, so that an interruption leaves the old or the new one."""
    new = path.with_name(path.name + '.new')
    new.write_text(text)
    shutil.copymode(path, new) if path.exists() else new.chmod(0o644)
    os.replace(new, path)


def edit(path, change):
    """Applies change to the text of a file; tells the file if it differs."""
    before = path.read_text()
    after = change(before)
    if after == before:
        return []
    write(path, after)
    return [path]


def answer_to(version, like, module):
    """A change that repeats each `elif api_version == like` branch for version."""
    branch = re.compile(rf"( +)(?:el)?if api_version == '{like}':\n(.*)\n")

    def twin(match):
        body = match[2].replace('v' + like.replace('-', '_'), module)
        return f"{match[0]}{match[1]}elif api_version == '{version}':\n{body}\n"

    def change(text):
        return text if f"api_version == '{version}'" in text else branch.sub(twin, text)
    return change


def fix_compute(compute):
    have, want = '2022-08-01', '2022-11-01'
    old, new = ('v' + v.replace('-', '_') for v in (have, want))
    changed = []
    if not (compute / new).is_dir():
        unfinished = compute / (new + '.new')
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(compute / old, unfinished, ignore=shutil.ignore_patterns('__pycache__'))
        for path in unfinished.rglob('*.py'):
            edit(path, lambda text: text.replace(have, want).replace(old, new))
        unfinished.rename(compute / new)
        changed.append(compute / new)
    for client in ('_compute_management_client.py', 'aio/_compute_management_client.py'):
        changed += edit(compute / client, answer_to(want, have, new))
    return changed


def fix_network(network):
    have, want = '2022-07-01', '2022-01-01'
    changed = []
    for name, text in (
            ('models', 'from ...v2022_07_01.models import *\n'),
            ('operations', 'from ...operations import *\n'),
            ('', 'from .._client import NetworkManagementClient\n')):
        path = network / 'v2022_01_01' / name / '__init__.py'
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, text)
            changed.append(path)

    def allow(text):
        return re.sub(rf"(?<!'{want}', )'{have}'\]", f"'{want}', '{have}']", text)

    client = network / '_client.py'
    changed += edit(client, answer_to(want, have, 'v2022_07_01'))
    changed += edit(client, allow)
    # The operations send the version named here as their default.
    changed += edit(network / 'operations/_operations.py',
                    lambda text: allow(text).replace(f'"{have}"', f'"{want}"'))
    return changed


def fix_role(cli):
    changed = []
    for name in ('command_modules/role/custom.py', 'command_modules/vm/_validators.py',
                 'command_modules/vm/custom.py', 'core/commands/arm.py'):
        changed += edit(cli / name, lambda text: text.replace(
            'client.config.subscription_id', 'client._config.subscription_id'))
    return changed


def compile_again(changed):
    """Compiles what changed: users without root cannot, and would wait for it every time."""
    for path in changed:
        if path.is_dir():
            compileall.compile_dir(path, quiet=2)
        else:
            compileall.compile_file(path, quiet=2)


def main():
    tree = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else PACKAGES
    for package, broken in BROKEN.items() if tree == PACKAGES else ():
        version = installed(package)
        if not version:
            sys.exit(f'fix-debian-azure-cli: {package} is not installed; apt-get install azure-cli')
        if not version.startswith(broken):
            print(f'azure-cli: {package} {version} is not the one of Debian 12, left alone')
            return
    mgmt = tree / 'azure/mgmt'
    try:
        changed = fix_compute(mgmt / 'compute') + fix_network(mgmt / 'network') + fix_role(tree / 'azure/cli')
    except PermissionError:
        sys.exit(f'fix-debian-azure-cli: needs root to change {tree}')
    compile_again(changed)
    print(f'azure-cli: repaired, {len(changed)} changes' if changed else 'azure-cli: already repaired')


if __name__ == '__main__':
    main()
