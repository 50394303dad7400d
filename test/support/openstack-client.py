"""Runs commands of Debian's openstack client in one process, as starting it takes seconds: a line of JSON with the arguments in, {"code", "out", "err"} out.

It is one user's: the client reads its environment when it is imported.
"""
import contextlib
import io
import json
import sys

from openstackclient import shell

answers = sys.stdout
for line in sys.stdin:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            client = shell.OpenStackShell()
            client.stdout, client.stderr = out, err
            code = client.run(json.loads(line))
        except SystemExit as end:  # arguments that it does not take
            code = end.code
    answers.write(json.dumps({"code": code, "out": out.getvalue(), "err": err.getvalue()}) + "\n")
    answers.flush()
