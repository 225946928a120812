// The JavaScript SDK v3 against the local Kendra, whose URL is the first argument: documents, a sync, a question.
const assert = require("node:assert/strict");
const { setTimeout: sleep } = require("node:timers/promises");
const sdk = require("@aws-sdk/client-kendra");

const kendra = new sdk.KendraClient({
  endpoint: process.argv[2],
  region: "us-east-1",
  credentials: { accessKeyId: "testing", secretAccessKey: "testing" },
  maxAttempts: 1,
});
const send = (operation, request) => kendra.send(new sdk[`${operation}Command`](request));
const say = (text) => console.log(`   ${text}`);

const attribute = (Key, StringValue) => ({ Key, Value: { StringValue } });

async function putDocuments(source) {
  const { ExecutionId } = await send("StartDataSourceSyncJob", source);
  const { FailedDocuments } = await send("BatchPutDocument", {
    IndexId: source.IndexId,
    Documents: ["penguins", "zebras"].map((animal) => ({
      Id: animal,
      Title: `All about ${animal}`,
      Blob: new TextEncoder().encode(`Some facts about ${animal}.`),
      ContentType: "PLAIN_TEXT",
      Attributes: [
        attribute("_data_source_id", source.Id),
        attribute("_data_source_sync_job_execution_id", ExecutionId),
      ],
    })),
  });
  assert.deepEqual(FailedDocuments, []);
  await send("StopDataSourceSyncJob", source);
  return ExecutionId;
}

async function waitForSync(source, executionId) {
  for (;;) {
    const { History } = await send("ListDataSourceSyncJobs", source);
    const job = History.find((each) => each.ExecutionId === executionId);
    if (!["SYNCING", "SYNCING_INDEXING", "STOPPING"].includes(job.Status)) return job;
    await sleep(100);
  }
}

async function readPages(source) {
  const ids = [];
  let NextToken;
  do {
    const page = await send("ListDataSourceSyncJobs", { ...source, MaxResults: 1, NextToken });
    ids.push(...page.History.map((job) => job.ExecutionId));
    NextToken = page.NextToken;
  } while (NextToken);
  return ids;
}

async function main() {
  const index = await send("CreateIndex", { Name: "javascript", RoleArn: "arn:aws:iam::123456789012:role/kendra" });
  const made = await send("CreateDataSource", { IndexId: index.Id, Name: "custom", Type: "CUSTOM" });
  const source = { IndexId: index.Id, Id: made.Id };
  say(`index ${index.Id}, CUSTOM data source ${made.Id}`);

  const executionId = await putDocuments(source);
  const job = await waitForSync(source, executionId);
  assert.equal(job.Status, "SUCCEEDED");
  assert.equal(job.Metrics.DocumentsAdded, "2");
  assert(job.StartTime instanceof Date && job.EndTime >= job.StartTime);
  say(`sync job ${executionId}: ${job.Status}, ${job.Metrics.DocumentsAdded} documents added`);

  const { DocumentStatusList } = await send("BatchGetDocumentStatus", {
    IndexId: index.Id,
    DocumentInfoList: [{ DocumentId: "penguins" }, { DocumentId: "absent" }],
  });
  const statuses = DocumentStatusList.map((each) => each.DocumentStatus);
  assert.deepEqual(statuses, ["INDEXED", "NOT_FOUND"]);
  say(`status of two documents: ${statuses.join(", ")}`);

  const { ResultItems } = await send("Query", { IndexId: index.Id, QueryText: "penguins" });
  assert.deepEqual(ResultItems.map((item) => item.DocumentId), ["penguins"]);
  say(`answer to "penguins": ${ResultItems[0].DocumentTitle.Text}`);

  await waitForSync(source, await putDocuments(source));
  const ids = await readPages(source);
  assert.equal(ids.length, 2);
  assert.equal(ids[1], executionId);
  say("history of two syncs, in pages of one, newest first");

  await send("StartDataSourceSyncJob", source);
  const error = await send("StartDataSourceSyncJob", source).then(() => assert.fail("started twice"), (each) => each);
  assert(error instanceof sdk.ResourceInUseException, error);
  assert.equal(error.$metadata.httpStatusCode, 400);
  assert(error.message && error.$metadata.requestId);
  say(`second start: ${error.name}: ${error.message}`);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
