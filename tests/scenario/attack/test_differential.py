# SPDX-License-Identifier: Apache-2.0
"""A slice of differential.py: all that is written down, and some thousand mutations, against the four servers. The long
run is `tests/scenario/attack/differential --count 100000`."""
import json
import random

import corpus
import pytest
from differential import BACKENDS, PAIRS, SERVER, Field, Findings, gather, guarded, run, run_drafts, service_of, talk, talk_secured
from mesh import WEB

MUTATIONS = 2000  # for each server


@pytest.fixture(scope="module")
def field():
    with Field() as field:
        yield field.start()


@pytest.mark.parametrize("pair", PAIRS, ids="/".join)
def test_all_ways_lead_to_all_servers(field, pair):
    """Else nothing that is refused would say anything."""
    end, text = field.ends[pair], corpus.Draft().text()
    address = (field.lab[SERVER].v4, end.service.port)
    replies = [talk_secured(field, end, text), *talk(field.lab["vm-a"], WEB.uid, address, [text]), *talk(field.lab[SERVER], WEB.uid, address, [text])]
    assert all(reply.startswith(b"HTTP/1.1 200 ") for reply in replies), replies
    gather(field, end)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_that_is_written_down_gets_round_policy(field, backend):
    findings = Findings()
    run(field, 0, 0, findings, backends=[backend])
    assert not findings.bad, findings.report()
    assert all(findings.forwarded[f"{backend}/{style}"] > 150 for _, style in PAIRS[:3])  # or it would say nothing


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_mutation_gets_round_policy(field, backend):
    findings = Findings()
    run(field, MUTATIONS, 20, findings, backends=[backend])
    assert not findings.bad, findings.report()
    assert sum(findings.forwarded.values()) > MUTATIONS / 10


class Unguarded(Field):
    """With one of the guards forgotten before each server."""
    forgotten = dict(zip(BACKENDS, ("paths", "methods", "hosts", "headers")))

    def __init__(self):
        super().__init__([(backend, "guarded") for backend in BACKENDS])
        self.policies = [rule for backend, key in self.forgotten.items()
                         for rule in guarded(service_of(backend, "guarded").name) if key not in rule]


def test_comparison_notices_what_gets_round():
    drafts = random.Random(1).sample(corpus.CASES, 600)
    with Unguarded() as field:
        field.start()
        for (backend, _), end in field.ends.items():
            findings = Findings()
            run_drafts(field, end, drafts, None, findings)
            assert {kind for kind, *_ in findings.bad} == {"BYPASS"}, (backend, findings.report())


def test_comparison_notices_a_request_that_nobody_sent(field):
    """As if it had been inside another one."""
    findings = Findings()
    end = field.ends["go", "guarded"]
    with open(end.log, "a") as log:
        log.write(json.dumps({"method": "GET", "target": "/public/x", "paths": ["/public/x"], "hosts": ["shop.example"], "roles": [],
                              "id": "0" * 32, "case": ""}) + "\n")
    run_drafts(field, end, [corpus.Draft()], None, findings)
    assert [kind for kind, *_ in findings.bad] == ["SEEN AND NOT SENT SO"]
