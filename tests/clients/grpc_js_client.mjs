// What the real grpc-js sees of a coordinator, as one JSON object on stdout.
//
//   node grpc_js_client.mjs MODULES PROTOS ADDR
//
// MODULES holds node_modules, PROTOS the directory `ganger`. The board is empty before.
import { createRequire } from 'node:module';
import { join } from 'node:path';

const [modules, protos, addr] = process.argv.slice(2);
const require = createRequire(join(modules, 'package.json'));
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');
const protobuf = require('protobufjs');

const files = ['artifact', 'mailbox', 'task', 'team', 'tool'].map(
  (name) => `ganger/v1/${name}_service.proto`,
);
const definition = loader.loadSync(files, {
  includeDirs: [protos],
  keepCase: true,
  longs: String,
  enums: String,
});
const { v1 } = grpc.loadPackageDefinition(definition).ganger;
const { root } = protobuf.parse(
  `
  syntax = "proto3";
  message Any { string type_url = 1; bytes value = 2; }
  message Status { int32 code = 1; string message = 2; repeated Any details = 3; }
  message ErrorInfo { string reason = 1; string domain = 2; map<string, string> metadata = 3; }
`,
  { keepCase: true },
);

const client = (service) => new v1[service](addr, grpc.credentials.createInsecure());
const board = client('TaskService');
const team = client('TeamService');
const artifacts = client('ArtifactService');

const as = (member) => {
  const metadata = new grpc.Metadata();
  metadata.set('ganger-member', member);
  return metadata;
};
const soon = () => ({ deadline: Date.now() + 500 });
const ask = (stub, call, request, metadata = new grpc.Metadata(), options = {}) =>
  new Promise((resolve, reject) => {
    const done = (error, answer) => (error ? reject(error) : resolve(answer));
    stub[call](request, metadata, options, done);
  });
const refusal = (asking) =>
  asking.then(
    (answer) => ({ answer }),
    (error) => {
      const [bytes] = error.metadata.get('grpc-status-details-bin');
      const found = { code: grpc.status[error.code], message: error.details };
      if (!bytes) return found;
      const status = root.lookupType('Status').decode(bytes);
      const infos = status.details.filter((any) => any.type_url.endsWith('google.rpc.ErrorInfo'));
      const [info] = infos.map((any) => root.lookupType('ErrorInfo').decode(any.value));
      return {
        ...found,
        inner_message: status.message,
        infos: infos.length,
        reason: info.reason,
        domain: info.domain,
        metadata: info.metadata,
      };
    },
  );

const seen = {};
for (const name of ['alice', 'bob']) {
  await ask(team, 'AddMember', { member: { name } });
}
const created = await ask(board, 'CreateTask', { subject: 'Größe #1 100% prüfen' });
seen.subject = created.task.subject;
seen.id = created.task.id;
await ask(board, 'ClaimTask', { task_id: 1 }, as('alice'));
seen.held = await refusal(ask(board, 'ClaimTask', { task_id: 1 }, as('bob')));
seen.odd = await refusal(ask(client('ToolService'), 'CallTool', { name: 'é #1 100% %23' }));

seen.late = await refusal(
  ask(client('MailboxService'), 'ReceiveMessages', { wait: { seconds: 60 } }, as('bob'), soon()),
);

seen.events = [];
seen.stream_end = await new Promise((resolve) => {
  const stream = team.WatchTeam({ after_revision: 0 }, new grpc.Metadata(), soon());
  stream.on('data', ({ events }) => seen.events.push(...events.map((event) => event.task_id)));
  stream.on('error', (error) => resolve(grpc.status[error.code]));
  stream.on('end', () => resolve('OK'));
});

const blob = Buffer.alloc(200_000, 'ganger ');
const uploaded = await new Promise((resolve, reject) => {
  const upload = artifacts.UploadArtifact((error, answer) =>
    error ? reject(error) : resolve(answer.artifact),
  );
  upload.write({ header: { path: 'blob' } });
  upload.write({ chunk: blob.subarray(0, 100_000) });
  upload.write({ chunk: blob.subarray(100_000) });
  upload.end();
});
const parts = [];
await new Promise((resolve, reject) => {
  const download = artifacts.DownloadArtifact({ sha256: uploaded.sha256 });
  download.on('data', ({ chunk }) => parts.push(chunk));
  download.on('error', reject);
  download.on('end', resolve);
});
seen.artifact = { size: uploaded.size, is_same: Buffer.concat(parts).equals(blob) };

console.log(JSON.stringify(seen));
process.exit(0);
