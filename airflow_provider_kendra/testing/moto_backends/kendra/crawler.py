"""Reads the documents of a bucket as an S3 connector does."""

import hashlib
import json
import posixpath
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .documents import MARKUP_TYPES, MAX_DOCUMENT_BYTES, MAX_TEXT_BYTES, PLAIN_TYPES, Document, Problem, extract_text
from .globs import compiled, matches
from .s3_metadata import InvalidFile, Metadata, read_access, read_metadata

METADATA_SUFFIX = ".metadata.json"

#: The content types of files, by extension. Others are skipped. Source: "Types of documents" in Kendra's developer
#: guide, which does not list extensions. Files without an extension are read as text.
CONTENT_TYPES = {
    "": "PLAIN_TEXT", ".txt": "PLAIN_TEXT", ".text": "PLAIN_TEXT", ".log": "PLAIN_TEXT",
    ".html": "HTML", ".htm": "HTML", ".xhtml": "HTML",
    ".pdf": "PDF", ".rtf": "RTF", ".doc": "MS_WORD", ".docx": "MS_WORD", ".ppt": "PPT", ".pptx": "PPT",
    ".xls": "MS_EXCEL", ".xlsx": "MS_EXCEL", ".csv": "CSV", ".json": "JSON", ".md": "MD", ".xml": "XML",
    ".xsl": "XSLT", ".xslt": "XSLT",
}  # fmt: skip

#: How often, and after which pause in seconds, to read an object whose file moto has closed: it does so just before it
#: replaces or removes the object.
MAX_READS = 50
READ_PAUSE = 0.001

Messages = list[dict[str, Any]]
AccessLists = list[tuple[str, list[dict[str, Any]]]]

T = TypeVar("T")


class CrawlError(Exception):
    """The bucket, an object or the configuration can't be read."""


@dataclass(frozen=True)
class Scope:
    """What a data source crawls, from an S3Configuration or from a template of type S3."""

    bucket: str
    max_bytes: int
    inclusion_prefixes: tuple[str, ...] = ()
    exclusion_prefixes: tuple[str, ...] = ()
    inclusion_patterns: tuple[str, ...] = ()
    exclusion_patterns: tuple[str, ...] = ()
    metadata_prefix: str = ""
    access_path: str = ""
    is_forced: bool = False

    def includes(self, key: str) -> bool:
        """
        Whether a key is that of a document.

        A document that does not match an inclusion filter is not indexed, nor one that matches an exclusion filter.
        Prefixes and patterns are one filter each, so a key must match both. Neither the reference nor the guide says
        whether metadata files and the access control file are documents too; here they never are.
        """
        if key.endswith((METADATA_SUFFIX, "/")) or key == self.access_path:
            return False
        if key.startswith(self.exclusion_prefixes) or matches(key, self.exclusion_patterns):
            return False
        has_prefix = not self.inclusion_prefixes or key.startswith(self.inclusion_prefixes)
        return has_prefix and (not self.inclusion_patterns or matches(key, self.inclusion_patterns))

    def metadata_key(self, key: str) -> str:
        """Return the key of a document's metadata file: its own key after the prefix for metadata."""
        return f"{self.metadata_prefix}/{key}{METADATA_SUFFIX}" if self.metadata_prefix else key + METADATA_SUFFIX


def reads_s3(configured: dict[str, Any]) -> bool:
    """Whether a data source crawls a bucket: type S3, or a template of type S3."""
    if configured["Type"] == "TEMPLATE":
        template = configured["Configuration"]["TemplateConfiguration"].get("Template")
        return isinstance(template, dict) and template.get("type") == "S3"
    return bool(configured["Type"] == "S3")


def crawl(account_id: str, partition: str, configuration: dict[str, Any], messages: Messages) -> list[Document]:
    """
    Return the documents of a bucket. Documents that can't be read have ``problem`` set.

    Of several objects with the same document id, the last by key is indexed: they are submitted in this order, and a
    document replaces an earlier one of the same id.

    :param messages: Gets the events that the sync job writes to its own log stream.
    :raises CrawlError: if the bucket, the access control file or the configuration can't be read.
    """
    scope = _scope(configuration)
    bucket = _bucket(account_id, partition, scope.bucket)
    access = _access_lists(bucket, scope)
    found: dict[str, tuple[str, Document]] = {}
    for key in filter(scope.includes, sorted(bucket.keys)):
        document = _document(bucket, scope, key, access, messages)
        if document is not None:
            earlier, _ = found.pop(document.id, ("", None))
            if earlier:
                message = f"Replaced {scope.bucket}/{earlier} by {scope.bucket}/{key}, which has the same DocumentId."
                messages.append({"DocumentId": document.id, "Message": message})
            found[document.id] = key, document
    return [document for _, document in found.values()]


def read_object(account_id: str, partition: str, bucket: str, key: str) -> bytes:
    """
    Return the content of an object.

    :raises CrawlError: if there is none.
    """
    content = _read(_bucket(account_id, partition, bucket), key, _content)
    if content is None:
        raise CrawlError(f"Amazon Kendra could not read the object '{key}' of the S3 bucket '{bucket}'")
    return content


def _scope(configuration: dict[str, Any]) -> Scope:
    if "S3Configuration" in configuration:
        return _checked(_scope_of_s3(configuration["S3Configuration"]))
    try:
        return _checked(_scope_of_template(configuration["TemplateConfiguration"]["Template"]))
    except KeyError as error:
        raise CrawlError(f"The template of the data source is not valid: it has no {error.args[0]}") from None
    except (TypeError, AttributeError, ValueError, OverflowError) as error:
        raise CrawlError(f"The template of the data source is not valid: {error}") from None


def _scope_of_s3(s3: dict[str, Any]) -> Scope:
    return Scope(
        bucket=s3["BucketName"],
        max_bytes=MAX_DOCUMENT_BYTES,
        inclusion_prefixes=tuple(s3.get("InclusionPrefixes", [])),
        inclusion_patterns=tuple(s3.get("InclusionPatterns", [])),
        exclusion_patterns=tuple(s3.get("ExclusionPatterns", [])),
        metadata_prefix=s3.get("DocumentsMetadataConfiguration", {}).get("S3Prefix", "").strip("/"),
        access_path=_key_of(s3.get("AccessControlListConfiguration", {}).get("KeyPath", ""), s3["BucketName"]),
    )


def _scope_of_template(template: dict[str, Any]) -> Scope:
    """
    Read a template. Source: "Amazon S3 template schema" in Kendra's developer guide.

    The page on the S3 connector calls its patterns globs, the one on schemas regular expressions; here they are globs.
    FULL_CRAWL indexes what is new or has changed, FORCED_FULL_CRAWL everything again.
    """
    endpoint = template["connectionConfiguration"]["repositoryEndpointMetadata"]
    given = template.get("additionalProperties", {})
    bucket = _string(endpoint, "BucketName")
    if not bucket:
        raise ValueError("it has no BucketName")
    limit = int(float(given.get("maxFileSizeInMegaBytes", 50)) * 1024**2)
    if limit <= 0:
        raise ValueError("maxFileSizeInMegaBytes must be greater than 0")
    return Scope(
        bucket=bucket,
        max_bytes=min(limit, MAX_DOCUMENT_BYTES),
        inclusion_prefixes=_strings(given, "inclusionPrefixes"),
        exclusion_prefixes=_strings(given, "exclusionPrefixes"),
        inclusion_patterns=_strings(given, "inclusionPatterns"),
        exclusion_patterns=_strings(given, "exclusionPatterns"),
        metadata_prefix=_string(given, "metadataFilesPrefix").strip("/"),
        access_path=_key_of(_string(given, "aclConfigurationFilePath"), bucket),
        is_forced=template.get("syncMode") == "FORCED_FULL_CRAWL",
    )


def _string(given: dict[str, Any], name: str) -> str:
    return "".join(_strings({name: [given[name]]} if name in given else {}, name))


def _strings(given: dict[str, Any], name: str) -> tuple[str, ...]:
    values = given.get(name, [])
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise ValueError(f"{name} must hold nothing but strings")
    return tuple(values)


def _key_of(path: str, bucket: str) -> str:
    return path.removeprefix(f"s3://{bucket}").removeprefix("/")


def _checked(scope: Scope) -> Scope:
    for glob in scope.inclusion_patterns + scope.exclusion_patterns:
        try:
            compiled(glob)
        except ValueError as error:
            raise CrawlError(f"The pattern '{glob}' of the data source is not valid: {error}") from None
    return scope


def _bucket(account_id: str, partition: str, name: str) -> Any:
    from moto.s3.exceptions import S3ClientError
    from moto.s3.models import s3_backends

    try:
        return s3_backends[account_id][partition].get_bucket(name)
    except S3ClientError as error:
        raise CrawlError(f"Amazon Kendra could not read the S3 bucket '{name}': {error.message}") from None


def _object(bucket: Any, key: str) -> Any | None:
    """Return the newest version of an object, `None` if it is deleted."""
    from moto.s3.models import FakeKey

    found = bucket.keys.get(key)
    return found if isinstance(found, FakeKey) else None


def _read(bucket: Any, key: str, read: Callable[[Any], T]) -> T | None:
    """Read the newest version of an object, again if it is overwritten meanwhile; return `None` if it is deleted."""
    reads = 0
    while (found := _object(bucket, key)) is not None:
        try:
            return read(found)
        except ValueError:  # moto has closed its file
            reads += 1
            if reads == MAX_READS:
                raise
            time.sleep(READ_PAUSE)
    return None


def _content(found: Any) -> bytes:
    content: bytes = found.value
    return content


def _access_lists(bucket: Any, scope: Scope) -> AccessLists:
    """
    Read the access control file.

    A sync fails for an error in the configuration of its data source. Source: "My synchronization job failed" in
    Kendra's developer guide.
    """
    if not scope.access_path:
        return []
    content = _read(bucket, scope.access_path, _content)
    shown = f"the access control file '{scope.access_path}' of the S3 bucket '{scope.bucket}'"
    if content is None:
        raise CrawlError(f"Amazon Kendra could not read {shown}: it does not exist")
    try:
        return read_access(content)
    except InvalidFile as error:
        raise CrawlError(f"Amazon Kendra could not read {shown}: {error}") from None


def _document(bucket: Any, scope: Scope, key: str, access: AccessLists, messages: Messages) -> Document | None:
    """Read an object and its metadata file; return `None` for a type that Kendra does not support, or if deleted."""
    if _object(bucket, key) is None:
        return None
    uri = f"s3://{scope.bucket}/{key}"
    metadata_key = scope.metadata_key(key)
    metadata_file = _read(bucket, metadata_key, lambda found: (_content(found), found.etag))
    metadata, invalid = _metadata(f"{scope.bucket}/{metadata_key}", metadata_file and metadata_file[0], messages)
    content_type = metadata.content_type or CONTENT_TYPES.get(posixpath.splitext(key)[1].lower())
    if content_type is None:
        message = f"Skipped {scope.bucket}/{key}: Amazon Kendra does not support files of this type."
        messages.append({"DocumentId": uri, "S3Path": uri, "Message": message})
        return None
    read = _read(
        bucket, key, lambda found: (found.etag, ("", invalid) if invalid else _text(scope, found, content_type))
    )
    if read is None:
        return None
    etag, (text, problem) = read
    allowed = [entry for prefix, entries in access if uri.startswith(prefix) for entry in entries]
    # Results link to this address. Source: DocumentURI in published responses of Query.
    address = f"https://s3.{bucket.region_name}.amazonaws.com/{scope.bucket}/{key}"
    return Document(
        id=metadata.document_id or uri,
        version=None if scope.is_forced else _version(etag, metadata_file and metadata_file[1], allowed),
        title=metadata.title or posixpath.basename(key),
        source_uri=metadata.attributes.get("_source_uri", {}).get("StringValue") or address,
        content_type=content_type,
        text=text,
        attributes=metadata.attributes,
        access=allowed if metadata.access is None else metadata.access,
        problem=problem,
    )


def _metadata(path: str, content: bytes | None, messages: Messages) -> tuple[Metadata, Problem | None]:
    """
    Read a document's metadata file. A document with an invalid one fails.

    The developer guide names invalid metadata as the first cause of an INCOMPLETE sync of an S3 data source.
    """
    if content is None:
        return Metadata(), None
    try:
        return read_metadata(content), None
    except InvalidFile as error:
        messages.append({"Message": f"Found invalid metadata file {path}."})
        problem = Problem(f"Invalid metadata file {path}: {error}", "crawl")
        return Metadata(document_id=error.document_id), problem


def _text(scope: Scope, found: Any, content_type: str) -> tuple[str, Problem | None]:
    """Return the text of an object, or why it can't be indexed. Content without text, or too large, is not read."""
    size = found.size
    if size > scope.max_bytes:
        return "", Problem(f"The document has {size} bytes, more than the limit of {scope.max_bytes}", "crawl")
    too_long = Problem(f"The document has more than {MAX_TEXT_BYTES} bytes of text")
    if content_type in PLAIN_TYPES and size > MAX_TEXT_BYTES:
        return "", too_long
    text = extract_text(_content(found), content_type) if content_type in (*PLAIN_TYPES, *MARKUP_TYPES) else ""
    return ("", too_long) if len(text.encode()) > MAX_TEXT_BYTES else (text, None)


def _version(etag: str, metadata_etag: str | None, allowed: list[dict[str, Any]]) -> str:
    """Return what changes with the object, its metadata file and its entries in the access control file."""
    parts = [etag, metadata_etag, allowed]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
