// Push rows straight to Penstock's queue, and print what the model made of each, in order.
//
//   npm install
//   node push.mjs echo 1 < rows.jsonl          each line one row: {"x": [0, 1, 2, …]}
//
// AMQP_URL says where; PENSTOCK_TENANT whose jobs they are; PENSTOCK_SIGNING_KEY signs them where the farm asks for that.
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import amqp from "amqplib";

const [model, version] = process.argv.slice(2);
const { AMQP_URL, PENSTOCK_TENANT = "local", PENSTOCK_SIGNING_KEY } = process.env;
const SHARD_ROWS = 50; // rows in one message; keep it under 64 KiB
const queue = `cpu.${model}.${version}.low`;

function message(id, rows) {
  const inputs = {}; // the model's inputs, each with one value a row
  for (const name of Object.keys(rows[0])) inputs[name] = rows.map((row) => row[name]);
  const body = JSON.stringify({
    v: 1, id, model, version, priority: "low", tenant: PENSTOCK_TENANT, rows: rows.length, inputs,
  });
  if (!PENSTOCK_SIGNING_KEY) return Buffer.from(body);
  const signature = createHmac("sha256", PENSTOCK_SIGNING_KEY).update(body).digest("base64");
  return Buffer.from(`${body.slice(0, -1)},"sig":"v1,${signature}"}`);
}

const connection = await amqp.connect(AMQP_URL);

// Where the answers come: a queue of one's own, bound by its own name. Messages name it in `reply-to`.
const answers = new Map();
let arrived = () => {};
const inbox = await connection.createChannel();
const { queue: replyTo } = await inbox.assertQueue("", { exclusive: true });
await inbox.bindQueue(replyTo, "penstock.replies", replyTo);
await inbox.consume(replyTo, (answer) => {
  const job = JSON.parse(answer.content);
  answers.set(job.id, job);
  arrived();
}, { noAck: true });

// Out: persistent, mandatory, and confirmed by the hundred rather than one by one.
const outbox = await connection.createConfirmChannel();
const returned = [];
outbox.on("return", (unroutable) => returned.push(unroutable.fields.routingKey));
const rows = readFileSync(0, "utf8").split("\n").filter(Boolean).map((line) => JSON.parse(line));
const run = `node-${randomUUID()}`;
const jobs = [];
for (let start = 0; start < rows.length; start += SHARD_ROWS) {
  const id = `${run}-${start}`;
  const options = { persistent: true, mandatory: true, contentType: "application/json", messageId: id, replyTo };
  // False: the socket is full; it says when it is not.
  if (!outbox.publish("penstock.jobs", queue, message(id, rows.slice(start, start + SHARD_ROWS)), options))
    await new Promise((resolve) => outbox.once("drain", resolve));
  jobs.push(id);
}
await outbox.waitForConfirms(); // rejects where the queue is full
if (returned.length) throw new Error(`no queue ${returned[0]}: no worker or gateway has declared it`);

for (const id of jobs) {
  while (!answers.has(id)) await new Promise((resolve) => (arrived = resolve));
  const job = answers.get(id);
  if (job.status !== "succeeded") throw new Error(`${id}: ${job.error?.detail ?? job.status}`);
  // Outputs over 64 KiB lie in an object, `outputs_key`; GET /v1/jobs/{id}/result has them.
  if (!job.outputs) throw new Error(`${id}: its outputs are too large for an answer`);
  const [first, ...others] = Object.keys(job.outputs);
  job.outputs[first].forEach((value, place) => {
    const row = { [first]: value };
    for (const name of others) row[name] = job.outputs[name][place];
    console.log(JSON.stringify(row));
  });
}
await connection.close();
