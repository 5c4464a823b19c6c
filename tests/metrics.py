"""Reads metrics on stdin with Prometheus' own parser, and says what it found: one line "name{label=value,...} number"
for each sample, in order.  Exits 1 for what a scraper would choke on or misunderstand, 77 if the parser is not here."""

import re
import sys

try:
    from prometheus_client.parser import text_string_to_metric_families
except ImportError:
    sys.exit(77)


def fail(text):
    sys.exit("metrics.py: " + text)


def histogram(family):
    """Bounds rise, counts do not fall, and the last bucket is everything."""
    buckets = [sample for sample in family.samples if sample.name == family.name + "_bucket"]
    bounds = [float(sample.labels["le"]) for sample in buckets]
    counts = [sample.value for sample in buckets]
    if bounds != sorted(set(bounds)) or bounds[-1] != float("inf"):
        fail("bounds of " + family.name)
    if counts != sorted(counts):
        fail("buckets of " + family.name)
    rest = {sample.name: sample.value for sample in family.samples if sample.name != family.name + "_bucket"}
    if rest.keys() != {family.name + "_sum", family.name + "_count"} or rest[family.name + "_count"] != counts[-1]:
        fail("sum or count of " + family.name)


def main():
    text = sys.stdin.read()
    if not text.endswith("\n") or "\0" in text:
        fail("the last line is not ended")
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    if len(names) != len(set(names)):
        fail("a family comes twice")
    if len(names) != text.count("# TYPE ") or len(names) != text.count("# HELP "):
        fail("not every family has its TYPE and HELP")
    for family in families:
        if not re.fullmatch(r"twal_[a-z0-9_]+", family.name) or not family.documentation:
            fail("name or help of " + family.name)
        if family.type not in ("counter", "gauge", "histogram"):
            fail("type of " + family.name)
        if not family.samples:
            fail("nothing in " + family.name)
        if family.type == "histogram":
            histogram(family)
        for sample in family.samples:
            if family.type == "counter" and not sample.name.endswith("_total"):
                fail("the counter " + sample.name)
            labels = ",".join("%s=%s" % pair for pair in sorted(sample.labels.items()))
            print("%s%s %s" % (sample.name, "{" + labels + "}" if labels else "", repr(sample.value)))


main()
