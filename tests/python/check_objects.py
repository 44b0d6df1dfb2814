"""Looks at what dlio-rs wrote to an object store with the stores' own Python libraries, or writes a dataset with them.

  check_objects.py s3|azure --endpoint URL --bucket NAME --key ID --secret KEY [--ca PEM] ACTION

  create                  makes the bucket or container
  list PREFIX             {name: bytes} of the objects below PREFIX
  npz PREFIX SIDE         loads every .npz below PREFIX with numpy: arrays x (SIDE, SIDE, samples) and y
  uploads                 names of unfinished uploads
  write PREFIX COUNT SIDE writes COUNT npz files as DLIO names them
  sas HOURS               a SAS of the container that ends in HOURS
  put NAME SIZE           writes an object
  begin NAME              begins an upload of an object with one part, and leaves it
"""

import argparse
import datetime
import io
import json

import numpy as np


class S3:
    def __init__(self, args):
        import boto3
        from botocore.config import Config

        self.bucket = args.bucket
        self.client = boto3.client(
            "s3",
            endpoint_url=args.endpoint,
            aws_access_key_id=args.key,
            aws_secret_access_key=args.secret,
            region_name="us-east-1",
            config=Config(s3={"addressing_style": "path"}),
        )

    def create(self):
        self.client.create_bucket(Bucket=self.bucket)

    def list(self, prefix):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
        return {o["Key"]: o["Size"] for page in pages for o in page.get("Contents", [])}

    def get(self, name):
        return self.client.get_object(Bucket=self.bucket, Key=name)["Body"].read()

    def put(self, name, data):
        self.client.put_object(Bucket=self.bucket, Key=name, Body=data)

    def begin(self, name):
        upload = self.client.create_multipart_upload(Bucket=self.bucket, Key=name)["UploadId"]
        self.client.upload_part(Bucket=self.bucket, Key=name, UploadId=upload, PartNumber=1, Body=b"part")

    def uploads(self):
        found = self.client.list_multipart_uploads(Bucket=self.bucket).get("Uploads", [])
        return [upload["Key"] for upload in found]


class Azure:
    def __init__(self, args):
        from azure.storage.blob import ContainerClient

        self.args = args
        extra = {"connection_verify": args.ca} if args.ca else {}
        credential = {"account_name": args.key, "account_key": args.secret}
        self.client = ContainerClient(args.endpoint, args.bucket, credential=credential, api_version="2021-12-02", **extra)

    def create(self):
        self.client.create_container()

    def list(self, prefix):
        return {b.name: b.size for b in self.client.list_blobs(name_starts_with=prefix)}

    def get(self, name):
        return self.client.download_blob(name).readall()

    def put(self, name, data):
        self.client.upload_blob(name, data)

    def begin(self, name):
        self.client.get_blob_client(name).stage_block("AAAA", b"part")

    def uploads(self):
        blobs = self.client.list_blobs(include=["uncommittedblobs"])
        return [b.name for b in blobs if b.size == 0 or b.etag is None]

    def sas(self, hours):
        from azure.storage.blob import ContainerSasPermissions, generate_container_sas

        now = datetime.datetime.now(datetime.timezone.utc)
        return generate_container_sas(
            self.args.key,
            self.args.bucket,
            account_key=self.args.secret,
            permission=ContainerSasPermissions(read=True, write=True, delete=True, list=True, create=True, add=True),
            start=now - datetime.timedelta(hours=48),
            expiry=now + datetime.timedelta(hours=float(hours)),
        )


def npz(store, prefix, side):
    names = [name for name in store.list(prefix) if name.endswith(".npz")]
    for name in names:
        with np.load(io.BytesIO(store.get(name))) as arrays:
            assert sorted(arrays.files) == ["x", "y"], (name, arrays.files)
            assert arrays["x"].shape[:2] == (side, side), (name, arrays["x"].shape)
            assert arrays["x"].dtype == np.uint8, (name, arrays["x"].dtype)
            assert arrays["y"].shape == (arrays["x"].shape[2],), (name, arrays["y"].shape)
    return len(names)


def write(store, prefix, count, side):
    width = len(str(count))
    rng = np.random.default_rng(1)
    for i in range(count):
        data = io.BytesIO()
        np.savez(data, x=rng.integers(0, 256, (side, side, 1), dtype=np.uint8), y=[0])
        store.put(f"{prefix}/train/img_{i:0{width}}_of_{count}.npz", data.getvalue())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", choices=["s3", "azure"])
    for name in ("--endpoint", "--bucket", "--key", "--secret"):
        parser.add_argument(name, required=True)
    parser.add_argument("--ca")
    parser.add_argument("action", nargs="+")
    args = parser.parse_args()
    store = S3(args) if args.store == "s3" else Azure(args)
    match args.action:
        case ["create"]:
            store.create()
        case ["list", prefix]:
            print(json.dumps(store.list(prefix)))
        case ["npz", prefix, side]:
            print(npz(store, prefix, int(side)))
        case ["uploads"]:
            print(json.dumps(store.uploads()))
        case ["write", prefix, count, side]:
            write(store, prefix, int(count), int(side))
        case ["sas", hours]:
            print(store.sas(hours), end="")
        case ["put", name, size]:
            store.put(name, bytes(int(size)))
        case ["begin", name]:
            store.begin(name)
        case other:
            parser.error(f"unknown action {other}")


main()
