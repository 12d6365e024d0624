#!/usr/bin/python3
"""What boto3 does and sees in a bucket: the second party of tests/integration/s3_client.sh.

  second_party.py URL make BUCKET
  second_party.py URL fill BUCKET COUNT     keys of many shapes; prints "COUNT HASH" of them
  second_party.py URL put BUCKET KEY FILE [NAME=VALUE]...
  second_party.py URL get BUCKET KEY FILE
  second_party.py URL etag BUCKET KEY
  second_party.py URL delete BUCKET KEY
"""
import concurrent.futures
import sys

import boto3
from botocore.config import Config

MASK = (1 << 64) - 1


def hash_of(key):
    """As src/s3/key_digest.h says."""
    h = 0xCBF29CE484222325
    for byte in key.encode():
        h = ((h ^ byte) * 0x100000001B3) & MASK
    h = ((h ^ (h >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    h = ((h ^ (h >> 27)) * 0x94D049BB133111EB) & MASK
    return h ^ (h >> 31)


def keys_of(count):
    odd = ["a b", "a+b", "a%20b", "ü/ö", "日本/語", "x//y", "./dots/../z", "&<>\"'", "q?r=s#t", "~", "(1)*!",
           "dir/", "e\tf"]
    yield from odd
    for i in range(count - len(odd)):
        yield f"run{i % 7}/epoch {i % 13}/part-{i:05d}"


def main():
    url, command, bucket, *rest = sys.argv[1:]
    s3 = boto3.client("s3", endpoint_url=url, region_name="us-east-1",
                      config=Config(retries={"max_attempts": 2}, max_pool_connections=16))
    if command == "make":
        s3.create_bucket(Bucket=bucket)
    elif command == "fill":
        keys = list(keys_of(int(rest[0])))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda key: s3.put_object(Bucket=bucket, Key=key, Body=b""), keys))
        print(f"{len(keys)} {sum(map(hash_of, keys)) & MASK:016x}")
    elif command == "put":
        metadata = dict(pair.split("=", 1) for pair in rest[2:])
        with open(rest[1], "rb") as body:
            s3.put_object(Bucket=bucket, Key=rest[0], Body=body, Metadata=metadata)
    elif command == "get":
        with open(rest[1], "wb") as out:
            out.write(s3.get_object(Bucket=bucket, Key=rest[0])["Body"].read())
    elif command == "etag":
        print(s3.head_object(Bucket=bucket, Key=rest[0])["ETag"])
    elif command == "delete":
        s3.delete_object(Bucket=bucket, Key=rest[0])


if __name__ == "__main__":
    main()
