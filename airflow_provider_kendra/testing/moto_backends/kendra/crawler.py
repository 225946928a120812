"""Reads the documents of a bucket as an S3 connector does."""

from typing import Any

from .documents import MAX_DOCUMENT_BYTES, Document, Problem, extract_text


class CrawlError(Exception):
    """The bucket or object can't be read."""


def reads_s3(configured: dict[str, Any]) -> bool:
    """Whether a data source crawls a bucket: type S3, or a template of type S3."""
    return bool(configured["Type"] == "S3")


def crawl(
    account_id: str, partition: str, configuration: dict[str, Any], messages: list[dict[str, Any]]
) -> list[Document]:
    """
    Return the documents of a bucket.

    :param messages: Gets the events that the sync job writes to its own log stream.
    :raises CrawlError: if the bucket can't be read.
    """
    from moto.s3.models import FakeKey

    s3 = configuration["S3Configuration"]
    bucket = _bucket(account_id, partition, s3["BucketName"])
    prefixes = tuple(s3.get("InclusionPrefixes", [])) or ("",)
    found = []
    for name in sorted(bucket.keys):
        key = bucket.keys.get(name)
        if isinstance(key, FakeKey) and name.startswith(prefixes):
            problem = Problem("too large", "crawl") if key.size > MAX_DOCUMENT_BYTES else None
            text = "" if problem else extract_text(key.value, "PLAIN_TEXT")
            found.append(Document(id=name, version=key.etag, title=name, text=text, problem=problem))
    return found


def read_object(account_id: str, partition: str, bucket: str, key: str) -> bytes:
    """
    Return the content of an object.

    :raises CrawlError: if there is none.
    """
    from moto.s3.models import FakeKey

    found = _bucket(account_id, partition, bucket).keys.get(key)
    if not isinstance(found, FakeKey):
        raise CrawlError(f"Amazon Kendra could not read the object '{key}' of the S3 bucket '{bucket}'")
    content: bytes = found.value
    return content


def _bucket(account_id: str, partition: str, name: str) -> Any:
    from moto.s3.exceptions import S3ClientError
    from moto.s3.models import s3_backends

    try:
        return s3_backends[account_id][partition].get_bucket(name)
    except S3ClientError as error:
        raise CrawlError(f"Amazon Kendra could not read the S3 bucket '{name}': {error.message}") from None
