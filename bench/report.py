# SPDX-License-Identifier: Apache-2.0
"""The report."""


def render(document):
    return "<!doctype html>"
