"""One Python client of an object store against the bench server: s3dlio, boto3, or the AWS Common Runtime.

  bench_object_clients.py CLIENT get|put URL LENGTH DEPTH SECONDS [CA]     prints [seconds, CPU seconds, bytes]

It keeps DEPTH requests in flight for so long. A PUT sends bytes that were just made: a copy. bench_object.py runs it in turns with the others, which take the same words.
"""

import io
import json
import os
import resource
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

BUCKET, KEY = "bench", "x/train/img_00_of_64.npz"
ID, SECRET = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]


def made(data):
    """A copy: what a checkpoint sends was made for it, and is in memory of its own."""
    return bytes(memoryview(data))


def s3dlio(puts, url, length, depth, ca):
    import s3dlio as library

    uri, data = f"s3://{BUCKET}/{KEY}", bytes(length)

    def one():
        if not puts:
            return len(library.get(uri))
        library.put_bytes(uri, made(data))
        return length

    return threads(one, depth)


def boto3(puts, url, length, depth, ca):
    import boto3 as library
    from botocore.config import Config

    config = Config(
        max_pool_connections=depth, s3={"addressing_style": "path"}, response_checksum_validation="when_required",
        request_checksum_calculation="when_required",
    )  # fmt: skip
    client, data = library.client("s3", endpoint_url=url, config=config, verify=ca), bytes(length)

    def one():
        if not puts:
            return len(client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())
        client.put_object(Bucket=BUCKET, Key=KEY, Body=made(data))
        return length

    return threads(one, depth)


def threads(one, depth):
    """`one` in as many threads as requests in flight."""

    def until(end):
        def work(_):
            done = 0
            while time.monotonic() < end:
                done += one()
            return done

        with ThreadPoolExecutor(depth) as pool:
            return sum(pool.map(work, range(depth)))

    return until


def awscrt(puts, url, length, depth, ca):
    from awscrt import auth, http, s3
    from awscrt import io as crt

    group = crt.EventLoopGroup()
    bootstrap = crt.ClientBootstrap(group, crt.DefaultHostResolver(group))
    tls = {"tls_mode": s3.S3RequestTlsMode.DISABLED}
    if ca:
        options = crt.TlsContextOptions()
        options.override_default_trust_store_from_path(None, ca)
        tls = {"tls_connection_options": crt.ClientTlsContext(options).new_connection_options()}
    client = s3.S3Client(
        bootstrap=bootstrap, region="us-east-1", credential_provider=auth.AwsCredentialsProvider.new_static(ID, SECRET),
        part_size=max(5 << 20, length), multipart_upload_threshold=max(5 << 20, length) + 1, **tls,
    )  # fmt: skip
    host, data = url.split("://")[1], bytes(length)
    headers = [("host", host)] + ([("content-length", str(length))] if puts else [])

    def until(end):
        done, free, failed = [0], threading.Semaphore(depth), []

        def body(chunk, offset, **_):
            done[0] += len(chunk)

        def finished(error, **_):
            if error:
                failed.append(error)
            elif puts:
                done[0] += length
            free.release()

        def one():
            request = http.HttpRequest(
                "PUT" if puts else "GET", f"/{BUCKET}/{KEY}", http.HttpHeaders(headers), io.BytesIO(made(data)) if puts else None
            )
            kind = s3.S3RequestType.PUT_OBJECT if puts else s3.S3RequestType.GET_OBJECT
            return client.make_request(type=kind, request=request, on_body=None if puts else body, on_done=finished)

        while time.monotonic() < end and not failed:
            free.acquire()
            one()
        for _ in range(depth):
            free.acquire()
        if failed:
            raise failed[0]
        return done[0]

    return until


def cpu():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return u.ru_utime + u.ru_stime


def main():
    name, direction, url, length, depth, seconds = sys.argv[1:7]
    ca = sys.argv[7] if len(sys.argv) > 7 else None
    until = globals()[name](direction == "put", url, int(length), int(depth), ca)
    # Imports and the first connection are no work of a request.
    until(time.monotonic())
    c, t = cpu(), time.monotonic()
    done = until(t + float(seconds))
    print(json.dumps([time.monotonic() - t, cpu() - c, done]))


if __name__ == "__main__":
    main()
