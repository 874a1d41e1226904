# SPDX-License-Identifier: Apache-2.0
"""Externals that are published to the mesh, as all other objects are."""
from machines import wait_for
from outside import OutsideMesh


def external(address, **more):
    return {"name": "plain", "host": "plain.example", "port": 8000, "tls": "none", "address": address, **more}


def test_published_changed_and_taken_away():
    with OutsideMesh(stores=["vm-r"]) as mesh:
        mesh.externals = [external(mesh.outside.v4)]
        mesh.serve_outside(8000)
        mesh.start()

        def status(caller="web"):
            return mesh.ask(8000, "plain.example", caller=caller).status
        assert status() == 200
        assert "plain.example" in mesh.operate("get", "external/plain").stdout

        mesh.publish({"externals": [external(mesh.outside.v4, **{"from": ["guest"]})]})
        wait_for(lambda: status() == 403, "the change to be in force")
        assert status("guest") == 200

        twice = mesh.publish({"externals": [{**external(mesh.outside.v4), "name": "again"}]}, check=False)
        assert twice.returncode != 0 and "already" in twice.stdout + twice.stderr

        mesh.operate("delete", "external/plain")
        wait_for(lambda: mesh.turned_away("guest", (mesh.outside.v4, 8000)), "it to be gone")
