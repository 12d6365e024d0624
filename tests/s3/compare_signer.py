#!/usr/bin/python3
"""Signs random requests with botocore and with s3_tool; every one must come out the same.

  compare_signer.py S3_TOOL COUNT             honours SHEEN_SEED
  compare_signer.py --golden FILE COUNT       writes cases and botocore's answers for the unit test

botocore (python3-botocore) is the oracle: its S3SigV4Auth for "s3", its SigV4Auth for "sts".
"""
import datetime
import json
import os
import random
import subprocess
import sys
import time
from urllib.parse import quote

import botocore.auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PARTS = ["a", "Z", "0", "-", "_", ".", "~", "/", "//", "..", "./", "/../", " ", "  ", "+", "%", "%20",
         "%2F", "&", "=", "?", "#", ";", ":", "@", "!", "*", "'", "(", ")", "$", ",", "[", "]", "{",
         "}", "|", "\\", "^", "`", "<", ">", '"', "\t", "\x01", "\x7f", "é", "ß", "日本", "😀", "\u200b"]
HEADER_PARTS = ["value", " ", "  ", "   ", "a=b", ",", ";", "0100644", "1595002920000000000ns", "/x", "+"]
HEADER_NAMES = ["x-amz-meta-file-permissions", "X-Amz-Meta-File-Owner", "x-amz-meta-b", "X-AMZ-META-A",
                "Range", "If-Match", "Content-Type", "x-amz-copy-source", "x-amz-copy-source-range",
                "x-amz-acl", "Cache-Control"]
QUERY_NAMES = ["prefix", "delimiter", "list-type", "uploads", "partNumber", "uploadId", "start-after",
               "a b", "a+b", "é", "~", "A", "a"]
HOSTS = ["s3.eu-west-1.amazonaws.com", "bucket.s3.amazonaws.com", "127.0.0.1:9000", "[::1]:8080"]
HASHES = ["UNSIGNED-PAYLOAD", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]


def text(rng, parts, most):
    return "".join(rng.choice(parts) for _ in range(rng.randrange(most)))


def random_case(rng):
    service = "sts" if rng.random() < 0.1 else "s3"
    names = rng.sample(HEADER_NAMES, rng.randrange(5))
    query = {}
    for _ in range(rng.randrange(5)):
        name = rng.choice(QUERY_NAMES) if rng.random() < 0.7 else "q" + text(rng, PARTS, 6)
        query[name] = text(rng, PARTS, 8)
    return {
        "method": rng.choice(["GET", "HEAD", "PUT", "POST", "DELETE"]),
        "host": rng.choice(HOSTS),
        "path": "/" if service == "sts" else "/" + text(rng, PARTS, 14),
        "query": sorted(query.items(), key=lambda _: rng.random()),
        "headers": [[name, "v" + text(rng, HEADER_PARTS, 6) + "v"] for name in names],
        "access_key": "AKID" + str(rng.randrange(10**9)),
        "secret_key": text(rng, ["s", "/", "+", "=", "K", "9"], 40) or "k",
        "token": text(rng, ["t", "/", "+", "=", "T"], 60) if rng.random() < 0.5 else "",
        "region": rng.choice(["us-east-1", "eu-central-1", "cn-north-1"]),
        "service": service,
        "time": rng.randrange(0, 4_000_000_000),
        "payload_hash": rng.choice(HASHES),
    }


class Frozen(datetime.datetime):
    now_is = None

    @classmethod
    def utcnow(cls):
        return cls.now_is


def by_botocore(case):
    Frozen.now_is = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=case["time"])
    botocore.auth.datetime.datetime = Frozen
    keys = Credentials(case["access_key"], case["secret_key"], case["token"] or None)
    auth_type = botocore.auth.S3SigV4Auth if case["service"] == "s3" else botocore.auth.SigV4Auth
    auth = auth_type(keys, case["service"], case["region"])
    auth.payload = lambda request: case["payload_hash"]
    path = quote(case["path"], safe="/-_.~")
    request = AWSRequest(method=case["method"], url="https://" + case["host"] + path,
                         params=dict(case["query"]))
    request.headers["Host"] = case["host"]
    for name, value in case["headers"]:
        request.headers[name] = value
    auth.add_auth(request)
    target = path
    if case["query"]:
        pairs = sorted((quote(k, safe="-_.~"), quote(v, safe="-_.~")) for k, v in case["query"])
        target += "?" + "&".join(k + "=" + v for k, v in pairs)
    return {"target": target, "authorization": request.headers["Authorization"],
            "date": request.headers["X-Amz-Date"]}


def main():
    if sys.argv[1] == "--golden":
        rng = random.Random(1)
        with open(sys.argv[2], "w", encoding="ascii") as out:
            for _ in range(int(sys.argv[3])):
                case = random_case(rng)
                out.write(json.dumps({"case": case, "expected": by_botocore(case)}) + "\n")
        return 0
    seed = int(os.environ.get("SHEEN_SEED", time.time_ns() % 10**9))
    print(f"SHEEN_SEED={seed}", flush=True)
    rng = random.Random(seed)
    cases = [random_case(rng) for _ in range(int(sys.argv[2]))]
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    answers = subprocess.run([sys.argv[1], "sign"], input=lines, capture_output=True, text=True,
                             check=True, timeout=120).stdout.splitlines()
    if len(answers) != len(cases):
        print(f"{len(cases)} cases, {len(answers)} answers")
        return 1
    wrong = 0
    for case, line in zip(cases, answers):
        ours = json.loads(line)
        expected = by_botocore(case)
        got = {"target": ours["target"], "authorization": ours["headers"]["authorization"],
               "date": ours["headers"]["x-amz-date"]}
        if got != expected:
            wrong += 1
            if wrong <= 3:
                print(json.dumps({"case": case, "got": got, "expected": expected}, indent=1))
    print(f"{len(cases)} requests signed, {wrong} differ")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
