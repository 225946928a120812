"""A crawl follows the configuration of its data source and the files beside the documents, as Kendra's guide says."""

import contextlib
import importlib
import json
from collections import Counter

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_provider_kendra.testing.local import ROLE_ARN
from airflow_provider_kendra.testing.registry import register
from tests.conftest import examples

from .conftest import Source

BUCKET = "documents"


def module(name):
    register()
    return importlib.import_module(f"moto.kendra.{name}")


@pytest.fixture
def messages(monkeypatch):
    """What sync jobs have written to their own log streams."""
    written = []

    def write_job(backend, source, job, **kwargs):
        written.extend(job.messages)

    monkeypatch.setattr(module("sync_logs"), "write_job", write_job)
    return written


@pytest.fixture
def crawl(in_process, messages):
    """Makes a data source on a bucket with these objects; returns it with what its syncs find."""

    class Crawl(Source):
        def sync(self):
            """Run a sync and return the number of documents of each kind: added, modified, deleted, failed, scanned."""
            self.start()
            return self.counts()

        @property
        def _source(self):
            models = module("models")
            index = models.kendra_backends["123456789012"]["us-east-1"].indexes[self.ids[0]]
            return index.data_sources[self.ids[1]]

        @property
        def indexed(self):
            """The documents by key, or by id where it is not an S3 path."""
            return {each.id.removeprefix(f"s3://{BUCKET}/"): each for each in self._source.documents.indexed.values()}

        @property
        def failed(self):
            return {each.id: each for each in self._source.documents.failed.values()}

        def put(self, objects):
            s3 = in_process.client("s3")
            for key, body in objects.items():
                body = body if isinstance(body, bytes) else json.dumps(body).encode()
                s3.put_object(Bucket=BUCKET, Key=key, Body=body)

        def delete(self, *keys):
            for key in keys:
                in_process.client("s3").delete_object(Bucket=BUCKET, Key=key)

    def make(objects, **configuration):
        in_process.client("s3").create_bucket(Bucket=BUCKET)
        in_process.set_sync_duration(0)
        index_id = in_process.create_index()
        kind, member = (
            ("TEMPLATE", "TemplateConfiguration") if "Template" in configuration else ("S3", "S3Configuration")
        )
        if kind == "S3":
            configuration = {"BucketName": BUCKET} | configuration
        data_source_id = in_process.client().create_data_source(
            IndexId=index_id, Name="s3", Type=kind, RoleArn=ROLE_ARN, Configuration={member: configuration}
        )["Id"]
        source = Crawl(in_process, data_source_id, index_id)
        source.put(objects)
        return source

    return make


def template(sync_mode="FULL_CRAWL", bucket=BUCKET, **additional):
    return {
        "type": "S3",
        "version": "1.0.0",
        "syncMode": sync_mode,
        "connectionConfiguration": {"repositoryEndpointMetadata": {"BucketName": bucket}},
        "repositoryConfigurations": {"document": {"fieldMappings": []}},
        "additionalProperties": additional,
    }


# patterns

KEYS = (
    "readme.md", "logo.png", "docs/guide.md", "docs/logo.png", "docs/a/b/deep.ts", "docs/a/deep.module.ts",
    "internal.txt", "docs/company_internal.txt",
)  # fmt: skip


@pytest.mark.parametrize(
    ("glob", "matched"),
    [
        ("*.md", {"readme.md"}),
        ("/docs/*", {"docs/guide.md", "docs/logo.png", "docs/company_internal.txt"}),
        ("docs/*", {"docs/guide.md", "docs/logo.png", "docs/company_internal.txt"}),
        ("**/*.png", {"logo.png", "docs/logo.png"}),
        ("/**/*.png", {"logo.png", "docs/logo.png"}),
        ("**/*.{png, ico, md}", {"readme.md", "logo.png", "docs/guide.md", "docs/logo.png"}),
        ("/docs/**/*.ts", {"docs/a/b/deep.ts", "docs/a/deep.module.ts"}),
        ("**/!(*.module).ts", {"docs/a/b/deep.ts"}),
        ("*internal*", {"internal.txt"}),
        ("**/*internal*", {"internal.txt", "docs/company_internal.txt"}),
        ("docs/**", {key for key in KEYS if key.startswith("docs/")}),
        ("l?go.[pq]ng", {"logo.png"}),
        ("[!r]*.{png,md}", {"logo.png"}),
        ("docs/{guide,lo{g,x}o}.*", {"docs/guide.md", "docs/logo.png"}),
        (r"logo\.png", {"logo.png"}),
        ("{logo.png", set()),
        ("LOGO.png", set()),
        ("**", set(KEYS)),
    ],
)
def test_globs_match_what_the_reference_says(glob, matched):
    globs = module("globs")
    assert {key for key in KEYS if globs.matches(key, (glob,))} == matched


@given(key=st.text(max_size=12), glob=st.text(alphabet="ab/*?{}!(),|[]\\-^.", max_size=12))
@settings(deadline=None, max_examples=examples(200))
def test_a_glob_is_valid_or_refused(key, glob):
    globs = module("globs")
    with contextlib.suppress(ValueError):
        globs.matches(key, (glob,))


@given(key=st.text(max_size=12))
def test_a_glob_without_wildcards_matches_only_itself(key):
    globs = module("globs")
    escaped = "".join(f"\\{character}" for character in key)
    assert globs.matches(key, (escaped,))
    assert not globs.matches(key + "x", (escaped,))


def test_only_what_matches_an_inclusion_pattern_and_no_exclusion_pattern_is_indexed(crawl):
    objects = dict.fromkeys(["docs/a.txt", "docs/b.txt", "docs/c.md", "other/a.txt"], b"text")
    source = crawl(objects, InclusionPatterns=["**/*.txt"], ExclusionPatterns=["**/b.*"])
    assert source.sync() == (2, 0, 0, 0, 2)
    assert set(source.indexed) == {"docs/a.txt", "other/a.txt"}


def test_a_document_must_match_an_inclusion_prefix_and_an_inclusion_pattern(crawl):
    objects = dict.fromkeys(["docs/a.txt", "docs/c.md", "other/a.txt"], b"text")
    source = crawl(objects, InclusionPrefixes=["docs/", "more/"], InclusionPatterns=["**/*.txt"])
    source.sync()
    assert set(source.indexed) == {"docs/a.txt"}


def test_a_pattern_that_is_not_valid_fails_the_sync(crawl):
    source = crawl({"a.txt": b"text"}, InclusionPatterns=["[z-a]"])
    source.sync()
    job = source.newest()
    assert job["Status"] == "FAILED"
    assert "'[z-a]'" in job["ErrorMessage"]


def test_documents_that_no_longer_match_are_deleted(crawl):
    source = crawl({"a.txt": b"text", "b.txt": b"text"})
    source.sync()
    configuration = {"S3Configuration": {"BucketName": BUCKET, "ExclusionPatterns": ["b*"]}}
    source.client.update_data_source(**source.key, Configuration=configuration)
    assert source.sync() == (0, 0, 1, 0, 1)


# templates


def test_a_template_of_type_s3_crawls_its_bucket(crawl):
    objects = dict.fromkeys(["docs/a.txt", "docs/draft/b.txt", "docs/c.md", "other/a.txt"], b"text")
    metadata = {"meta/docs/a.txt.metadata.json": {"Title": "A"}, "docs/a.txt.metadata.json": {"Title": "not this"}}
    access = [{"keyPrefix": f"s3://{BUCKET}/docs/", "aclEntries": [PRINCIPAL]}]
    additional = {
        "inclusionPrefixes": ["docs/", "acl"],
        "exclusionPrefixes": ["docs/draft/"],
        "inclusionPatterns": ["**/*.txt", "**/*.md", "*.json"],
        "exclusionPatterns": ["**/c.*"],
        "metadataFilesPrefix": "/meta/",
        "aclConfigurationFilePath": "/acl.json",
    }
    source = crawl(objects | metadata | {"acl.json": access}, Template=template(**additional))
    assert source.sync() == (1, 0, 0, 0, 1)
    document = source.indexed["docs/a.txt"]
    assert (document.title, document.access) == ("A", [PRINCIPAL])


def test_the_size_limit_of_a_template_applies(crawl):
    source = crawl({"a.txt": b"a" * 2000, "b.txt": b"b"}, Template=template(maxFileSizeInMegaBytes="0.001"))
    assert source.sync() == (1, 0, 0, 1, 2)
    assert source.failed[f"s3://{BUCKET}/a.txt"].problem.stage == "crawl"


def test_a_forced_full_crawl_indexes_everything_again(crawl):
    source = crawl({"a.txt": b"text", "b.txt": b"text"}, Template=template("FORCED_FULL_CRAWL"))
    assert source.sync() == (2, 0, 0, 0, 2)
    assert source.sync() == (0, 2, 0, 0, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        {"type": "S3"},
        template(bucket=7),
        template(bucket=""),
        template(inclusionPrefixes="docs/"),
        template(inclusionPatterns=[1]),
        template(maxFileSizeInMegaBytes="much"),
        template(maxFileSizeInMegaBytes="1e999"),
        template(maxFileSizeInMegaBytes="0"),
        template() | {"additionalProperties": []},
    ],
)
def test_a_template_that_is_not_valid_fails_the_sync(crawl, wrong):
    source = crawl({"a.txt": b"text"}, Template=wrong)
    source.sync()
    job = source.newest()
    assert (job["Status"], job["ErrorCode"]) == ("FAILED", "InvalidRequest")
    assert "template" in job["ErrorMessage"]


# metadata

PRINCIPAL = {"Name": "staff", "Type": "GROUP", "Access": "ALLOW"}


def test_a_document_without_a_metadata_file_is_named_by_its_object(crawl):
    source = crawl({"p/ä b+c.txt": b"text"})
    source.sync()
    document = source.indexed["p/ä b+c.txt"]
    assert (document.id, document.title) == (f"s3://{BUCKET}/p/ä b+c.txt", "ä b+c.txt")
    assert document.source_uri == f"https://s3.us-east-1.amazonaws.com/{BUCKET}/p/ä b+c.txt"
    assert (document.content_type, document.text, document.access) == ("PLAIN_TEXT", "text", [])


def test_a_metadata_file_describes_its_document_and_is_none(crawl, messages):
    metadata = {
        "DocumentId": "the-id",
        "Title": "The title",
        "ContentType": "MD",
        "Attributes": {
            "_source_uri": "https://example.com/f",
            "_category": "guides",
            "_created_at": "2012-03-25T12:30:10+01:00",
            "_view_count": 7,
            "cities": ["Oslo", "Rome"],
            "reviewed": "1970-01-01T00:00:01Z",
        },
        "AccessControlList": [PRINCIPAL],
    }
    source = crawl({"p/f.dat": b"text", "p/f.dat.metadata.json": metadata, "gone.txt.metadata.json": b"{"})
    assert source.sync() == (1, 0, 0, 0, 1)
    document = source.indexed["the-id"]
    assert (document.title, document.source_uri) == ("The title", "https://example.com/f")
    assert (document.content_type, document.access) == ("MD", [PRINCIPAL])
    assert document.attributes == {
        "_source_uri": {"StringValue": "https://example.com/f"},
        "_category": {"StringValue": "guides"},
        "_created_at": {"DateValue": 1332675010.0},
        "_view_count": {"LongValue": 7},
        "cities": {"StringListValue": ["Oslo", "Rome"]},
        "reviewed": {"DateValue": 1.0},
    }
    assert messages == []


def test_metadata_files_are_read_only_from_their_prefix(crawl):
    objects = {
        "docs/f.txt": b"text",
        "metadata/docs/f.txt.metadata.json": {"Title": "The title"},
        "docs/f.txt.metadata.json": b"not read",
    }
    source = crawl(objects, DocumentsMetadataConfiguration={"S3Prefix": "metadata"}, InclusionPrefixes=["docs"])
    source.sync()
    assert {key: each.title for key, each in source.indexed.items()} == {"docs/f.txt": "The title"}


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"Title": "\\ud800"}',
        [],
        {"DocumentId": ""},
        {"DocumentId": 7},
        {"DocumentId": "x" * 2049},
        {"Title": None},
        {"ContentType": "PNG"},
        {"Attributes": []},
        {"Attributes": {"_created_at": "yesterday"}},
        {"Attributes": {"_created_at": 7}},
        {"Attributes": {"price": 1.5}},
        {"Attributes": {"is_new": True}},
        {"Attributes": {"nothing": None}},
        {"Attributes": {"many": 2**63}},
        {"Attributes": {"cities": ["Oslo", 7]}},
        {"Attributes": {"cities": ["Oslo"] * 11}},
        {"Attributes": {"a b": "c"}},
        {"AccessControlList": {}},
        {"AccessControlList": ["staff"]},
        {"AccessControlList": [PRINCIPAL | {"Type": "ROLE"}]},
        {"AccessControlList": [PRINCIPAL | {"Name": ""}]},
    ],
    ids=lambda content: str(content)[:60],
)
def test_a_document_whose_metadata_file_is_not_valid_fails(crawl, messages, content):
    source = crawl({"p/f.txt": b"text", "p/f.txt.metadata.json": content, "p/g.txt": b"text"})
    assert source.sync() == (1, 0, 0, 1, 2)
    assert source.newest()["Status"] == "INCOMPLETE"
    assert source.failed[f"s3://{BUCKET}/p/f.txt"].problem.stage == "crawl"
    assert messages == [{"Message": f"Found invalid metadata file {BUCKET}/p/f.txt.metadata.json."}]


def test_a_document_keeps_its_id_when_another_part_of_its_metadata_is_not_valid(crawl):
    source = crawl({"f.txt": b"text", "f.txt.metadata.json": {"DocumentId": "the-id"}})
    source.sync()
    source.put({"f.txt.metadata.json": {"DocumentId": "the-id", "Title": 7}})
    assert source.sync() == (0, 0, 0, 1, 1)
    assert set(source.indexed) == set(source.failed) == {"the-id"}


def test_a_document_changes_with_its_metadata_file(crawl):
    source = crawl({"f.txt": b"text"})
    source.sync()
    source.put({"f.txt.metadata.json": {"Title": "New"}})
    assert source.sync() == (0, 1, 0, 0, 1)
    assert source.sync() == (0, 0, 0, 0, 1)
    source.delete("f.txt.metadata.json")
    assert source.sync() == (0, 1, 0, 0, 1)
    assert source.indexed["f.txt"].title == "f.txt"


def test_of_several_objects_with_the_same_document_id_the_last_is_indexed(crawl, messages):
    metadata = {f"{name}.txt.metadata.json": {"DocumentId": "same"} for name in "ab"}
    source = crawl({"a.txt": b"first", "b.txt": b"second"} | metadata)
    assert source.sync() == (1, 0, 0, 0, 1)
    assert source.indexed["same"].text == "second"
    assert [each["DocumentId"] for each in messages] == ["same"]
    assert source.sync() == (0, 0, 0, 0, 1)


# access


def test_the_access_control_file_gives_the_access_of_its_prefixes(crawl):
    other = {"Name": "mary", "Type": "USER", "Access": "DENY"}
    access = [
        {"keyPrefix": f"s3://{BUCKET}/docs/", "aclEntries": [PRINCIPAL]},
        {"keyPrefix": f"s3://{BUCKET}/docs/b.txt", "aclEntries": [other]},
    ]
    objects = dict.fromkeys(["docs/a.txt", "docs/b.txt", "docs/c.txt", "d.txt"], b"text")
    objects |= {"docs/c.txt.metadata.json": {"AccessControlList": [other]}, "acl.json": access}
    source = crawl(objects, AccessControlListConfiguration={"KeyPath": f"s3://{BUCKET}/acl.json"})
    source.sync()
    assert {key: each.access for key, each in source.indexed.items()} == {
        "docs/a.txt": [PRINCIPAL],
        "docs/b.txt": [PRINCIPAL, other],
        "docs/c.txt": [other],
        "d.txt": [],
    }
    source.put({"acl.json": access[:1]})
    assert source.sync() == (0, 1, 0, 0, 4)


@pytest.mark.parametrize("content", [None, b"{", {}, [{}], [{"keyPrefix": "s3://b"}], ["x"]], ids=str)
def test_an_access_control_file_that_cannot_be_read_fails_the_sync(crawl, content):
    objects = {"a.txt": b"text"} | ({"acl.json": content} if content is not None else {})
    source = crawl(objects, AccessControlListConfiguration={"KeyPath": "acl.json"})
    source.sync()
    job = source.newest()
    assert (job["Status"], job["ErrorCode"]) == ("FAILED", "InvalidRequest")
    assert "'acl.json'" in job["ErrorMessage"]


# objects


def test_the_content_type_follows_the_extension(crawl):
    names = ["a", "a.TXT", "a.html", "a.pdf", "a.docx", "a.xlsx", "a.pptx", "a.csv", "a.json", "a.md", "a.xml"]
    source = crawl(dict.fromkeys(names, b"<p>text</p>"))
    source.sync()
    kinds = ["PLAIN_TEXT", "PLAIN_TEXT", "HTML", "PDF", "MS_WORD", "MS_EXCEL", "PPT", "CSV", "JSON", "MD", "XML"]
    assert {key: each.content_type for key, each in source.indexed.items()} == dict(zip(names, kinds, strict=True))
    assert (source.indexed["a.html"].text, source.indexed["a.pdf"].text) == ("text", "")


def test_files_of_unsupported_types_are_skipped_with_a_message(crawl, messages):
    source = crawl({"a.txt": b"text", "b.png": b"picture", "folder/": b""})
    assert source.sync() == (1, 0, 0, 0, 1)
    assert [each["DocumentId"] for each in messages] == [f"s3://{BUCKET}/b.png"]
    assert "does not support" in messages[0]["Message"]


@pytest.mark.parametrize("name", ["a.txt", "a.html"])
def test_a_document_with_too_much_text_fails_when_it_is_indexed(crawl, name, monkeypatch):
    monkeypatch.setattr(module("crawler"), "MAX_TEXT_BYTES", 10)
    source = crawl({name: b"eleven char"})
    assert source.sync() == (0, 0, 0, 1, 1)
    assert source.failed[f"s3://{BUCKET}/{name}"].problem.stage == "index"


@pytest.mark.parametrize(
    ("name", "limit"), [("a.txt", "MAX_DOCUMENT_BYTES"), ("a.txt", "MAX_TEXT_BYTES"), ("a.pdf", "")]
)
def test_content_that_is_too_large_or_has_no_text_is_not_read(crawl, name, limit, monkeypatch):
    source = crawl({name: b"eleven char"})
    if limit:
        monkeypatch.setattr(module("crawler"), limit, 10)
    key = importlib.import_module("moto.s3.models").FakeKey
    monkeypatch.setattr(key, "value", property(lambda self: pytest.fail("read")))
    source.sync()
    assert source.newest()["Status"] in ("SUCCEEDED", "INCOMPLETE")


def test_only_the_newest_versions_of_objects_are_crawled(crawl, in_process):
    source = crawl({})
    versioning = {"Status": "Enabled"}
    in_process.client("s3").put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration=versioning)
    metadata = {"a.txt.metadata.json": {"Title": "The title"}}
    source.put({"a.txt": b"old", "b.txt": b"text"} | metadata)
    source.put({"a.txt": b"new"})
    assert source.sync() == (2, 0, 0, 0, 2)
    assert (source.indexed["a.txt"].text, source.indexed["a.txt"].title) == ("new", "The title")
    source.delete("b.txt", "a.txt.metadata.json")
    assert source.sync() == (0, 1, 1, 0, 1)
    assert source.indexed["a.txt"].title == "a.txt"


@given(body=st.binary(max_size=40) | st.text("<![]>-/ac CDATA", max_size=30).map(str.encode))
def test_text_is_extracted_from_any_page(body):
    documents = module("documents")
    assert isinstance(documents.extract_text(body, "HTML"), str)


def test_the_text_of_a_page_is_what_is_shown():
    documents = module("documents")
    page = b"<p>one<script>no()</script> two</p><x><![CDATA[three]]></x>"
    assert documents.extract_text(page, "XML") == "one two three"


# nights


def test_a_document_that_failed_is_not_tried_again_until_it_changes(crawl, in_process):
    source = crawl({"a.txt": b"text", "b.txt": b"text"})
    in_process.fail_documents(*source.ids, [f"s3://{BUCKET}/a.txt"], times=2)
    assert source.sync() == (1, 0, 0, 1, 2)
    assert source.sync() == (0, 0, 0, 0, 2)
    assert source.newest()["Status"] == "SUCCEEDED"
    source.put({"a.txt.metadata.json": {"Title": "A"}})
    assert source.sync() == (0, 0, 0, 1, 2)
    assert source.sync() == (0, 0, 0, 0, 2)
    source.put({"a.txt": b"new"})
    assert source.sync() == (1, 0, 0, 0, 2)


def test_a_document_that_failed_stays_searchable_in_its_earlier_version(crawl, in_process):
    source = crawl({"a.txt": b"old"})
    source.sync()
    in_process.fail_documents(*source.ids, [f"s3://{BUCKET}/a.txt"], stage="index", times=1)
    source.put({"a.txt": b"new"})
    assert source.sync() == (0, 0, 0, 1, 1)
    assert source.indexed["a.txt"].text == "old"
    source.delete("a.txt")
    assert source.sync() == (0, 0, 1, 0, 0)


NAMES = ("a.txt", "b.txt", "c.txt")
events = st.tuples(st.sampled_from(NAMES), st.sampled_from(["x", "y", "metadata 1", "metadata 2", "delete", "fail"]))


class Oracle:
    """What a bucket holds, what its index holds, and which versions have failed, each by name."""

    def __init__(self):
        self.bucket, self.indexed, self.failed = {}, {}, {}

    def change(self, source, name, what):
        if what == "delete":
            source.delete(name, f"{name}.metadata.json")
            self.bucket.pop(name, None)
        elif not what.startswith("metadata"):
            source.put({name: what.encode()})
            self.bucket[name] = what, self.bucket.get(name, ("", ""))[1]
        elif name in self.bucket:
            source.put({f"{name}.metadata.json": {"Title": what}})
            self.bucket[name] = self.bucket[name][0], what

    def sync(self, failing):
        """Return how many documents are added, modified, deleted, failed and scanned."""
        counts = Counter(deleted=len(self.indexed.keys() - self.bucket.keys()))
        for known in (self.indexed, self.failed):
            for name in known.keys() - self.bucket.keys():
                del known[name]
        for name, version in self.bucket.items():
            if self.failed.get(name, self.indexed.get(name)) == version:
                continue
            if name in failing:
                self.failed[name] = version
                counts["failed"] += 1
            else:
                counts["modified" if name in self.indexed else "added"] += 1
                self.indexed[name] = version
                self.failed.pop(name, None)
        return counts["added"], counts["modified"], counts["deleted"], counts["failed"], len(self.bucket)


@pytest.mark.slow
@settings(deadline=None, max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(nights=st.lists(st.lists(events, max_size=5), min_size=1, max_size=6))
def test_nights_of_changes_deletions_and_failures_are_counted_right(crawl, in_process, nights):
    source, oracle = crawl({}), Oracle()
    for name in NAMES:
        source.delete(name, f"{name}.metadata.json")
    for night in nights:
        failing = {name for name, what in night if what == "fail"}
        for name, what in night:
            if what != "fail":
                oracle.change(source, name, what)
        for name in NAMES:
            in_process.fail_documents(*source.ids, [f"s3://{BUCKET}/{name}"], times=int(name in failing))
        expected = oracle.sync(failing)
        assert source.sync() == expected
        assert source.newest()["Status"] == ("INCOMPLETE" if expected[3] else "SUCCEEDED")
        assert set(source.indexed) == set(oracle.indexed)


# other types


def web_crawler(kendra):
    index_id = kendra.create_index()
    configuration = {
        "WebCrawlerConfiguration": {"Urls": {"SiteMapsConfiguration": {"SiteMaps": ["https://example.com"]}}}
    }
    data_source_id = kendra.client().create_data_source(
        IndexId=index_id, Name="web", Type="WEBCRAWLER", RoleArn=ROLE_ARN, Configuration=configuration
    )["Id"]
    return Source(kendra, data_source_id, index_id)


def test_a_test_gives_a_source_of_another_type_its_documents(anywhere):
    source = web_crawler(anywhere)
    anywhere.set_sync_duration(0)
    anywhere.set_documents(*source.ids, [{"id": "a", "text": "one"}, {"id": "b", "title": "B"}])
    source.start()
    assert source.counts() == (2, 0, 0, 0, 2)
    anywhere.set_documents(*source.ids, [{"id": "a", "text": "two"}])
    source.start()
    assert source.counts() == (0, 1, 1, 0, 1)


def test_a_sync_of_another_type_without_documents_says_so(in_process, messages):
    source = web_crawler(in_process)
    in_process.set_sync_duration(0)
    source.start()
    assert source.counts() == (0, 0, 0, 0, 0)
    assert messages == [{"Message": "No documents were given to this WEBCRAWLER data source."}]


def test_documents_that_a_test_gives_replace_those_of_the_bucket_until_they_are_taken_away(crawl, in_process):
    source = crawl({"a.txt": b"text"})
    in_process.set_documents(*source.ids, [{"id": "given", "text": "one"}])
    assert source.sync() == (1, 0, 0, 0, 1)
    in_process.set_documents(*source.ids, None)
    assert source.sync() == (1, 0, 1, 0, 1)


ONCE = Config(retries={"total_max_attempts": 1})


def test_a_sync_that_could_not_start_does_not_run(crawl, in_process, monkeypatch):
    source = crawl({"a.txt": b"text"})
    source.client = in_process.client(config=ONCE)
    with monkeypatch.context() as broken:
        broken.setattr(module("crawler"), "crawl", lambda *_: {}["x"])
        with pytest.raises(ClientError, match="KeyError"):
            source.start()
    assert source.jobs() == []
    assert source.sync() == (1, 0, 0, 0, 1)


def meanwhile(monkeypatch, name, act):
    """Do something at the first read of an object's content, as another client can."""
    key = importlib.import_module("moto.s3.models").FakeKey
    value, done = key.value, []

    def read(self):
        if self.name == name and not done:
            done.append(name)
            act()
        return value.fget(self)

    monkeypatch.setattr(key, "value", property(read, value.fset))


@pytest.mark.parametrize("name", ["a.txt", "a.txt.metadata.json", "access.json"])
def test_an_object_that_is_overwritten_while_it_is_read_is_read_again(crawl, in_process, monkeypatch, name):
    objects = {"a.txt": b"old", "a.txt.metadata.json": {"Title": "old"}, "access.json": []}
    source = crawl(objects, AccessControlListConfiguration={"KeyPath": "access.json"})
    source.client = in_process.client(config=ONCE)
    assert source.sync() == (1, 0, 0, 0, 1)
    source.put({"a.txt": b"text"})
    entry = {"Name": "ann", "Type": "USER", "Access": "ALLOW"}
    newest = {
        "a.txt": b"new",
        "a.txt.metadata.json": {"Title": "new"},
        "access.json": [{"keyPrefix": f"s3://{BUCKET}/", "aclEntries": [entry]}],
    }
    meanwhile(monkeypatch, name, lambda: source.put({name: newest[name]}))
    assert source.sync() == (0, 1, 0, 0, 1)
    document = source.indexed["a.txt"]
    seen = {"a.txt": document.text, "a.txt.metadata.json": document.title, "access.json": document.access}
    assert seen[name] == {"a.txt": "new", "a.txt.metadata.json": "new", "access.json": [entry]}[name]


def test_an_object_that_is_deleted_while_it_is_read_is_a_deleted_document(crawl, monkeypatch):
    source = crawl({"a.txt": b"text", "b.txt": b"text"})
    meanwhile(monkeypatch, "a.txt", lambda: source.delete("a.txt"))
    assert source.sync() == (1, 0, 0, 0, 1)


def test_a_document_at_a_path_that_is_overwritten_while_it_is_read_is_read_again(crawl, in_process, monkeypatch):
    source = crawl({"a.txt": b"old"})
    source.client = in_process.client(config=ONCE)
    meanwhile(monkeypatch, "a.txt", lambda: source.put({"a.txt": b"new"}))
    document = {"Id": "a", "S3Path": {"Bucket": BUCKET, "Key": "a.txt"}}
    assert source.client.batch_put_document(IndexId=source.ids[0], Documents=[document])["FailedDocuments"] == []
    (item,) = source.client.query(IndexId=source.ids[0], QueryText="new")["ResultItems"]
    assert item["DocumentId"] == "a"
