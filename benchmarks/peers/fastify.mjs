// The usual Node stack doing the same work: Fastify + better-sqlite3, one message, its conversation and its log line in
// one synced transaction per request.   node fastify.mjs DATABASE   prints the port.
import Database from "better-sqlite3";
import Fastify from "fastify";

const db = new Database(process.argv[2]);
db.pragma("journal_mode = WAL");
db.pragma("synchronous = FULL");
db.exec(`
  CREATE TABLE conversations (id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL, peer TEXT NOT NULL, unread INTEGER NOT NULL,
    last_position INTEGER NOT NULL, last_message_ms INTEGER NOT NULL, UNIQUE (tenant_id, peer));
  CREATE TABLE messages (id INTEGER PRIMARY KEY, tenant_id INTEGER NOT NULL, conversation_id INTEGER NOT NULL,
    position INTEGER NOT NULL, external_id TEXT, address TEXT NOT NULL, type TEXT NOT NULL, text TEXT NOT NULL,
    state TEXT NOT NULL, metadata TEXT, received_ms INTEGER NOT NULL);
  CREATE UNIQUE INDEX messages_external ON messages (tenant_id, external_id);
  CREATE UNIQUE INDEX messages_position ON messages (conversation_id, position);
  CREATE INDEX messages_tenant ON messages (tenant_id, id);
  CREATE TABLE events (tenant_id INTEGER NOT NULL, seq INTEGER NOT NULL, kind TEXT NOT NULL, object_id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL, PRIMARY KEY (tenant_id, seq));
`);
const touch = db.prepare(`INSERT INTO conversations (tenant_id, peer, unread, last_position, last_message_ms)
  VALUES (1, ?, 1, 1, ?) ON CONFLICT (tenant_id, peer) DO UPDATE SET unread = unread + 1, last_position = last_position + 1,
  last_message_ms = excluded.last_message_ms RETURNING id, last_position`);
const insert = db.prepare(`INSERT INTO messages (tenant_id, conversation_id, position, external_id, address, type, text, state,
  metadata, received_ms) VALUES (1, ?, ?, ?, ?, ?, ?, 'received', ?, ?)`);
const log = db.prepare(`INSERT INTO events (tenant_id, seq, kind, object_id, at_ms) VALUES
  (1, (SELECT COALESCE(MAX(seq), 0) + 1 FROM events WHERE tenant_id = 1), 'message.received', ?, ?)`);
const store = db.transaction((message, now) => {
  const conversation = touch.get(message.from, now);
  const { lastInsertRowid } = insert.run(conversation.id, conversation.last_position, message.id, message.from,
    message.type ?? "sms", message.text, message.metadata ? JSON.stringify(message.metadata) : null, now);
  log.run(lastInsertRowid, now);
  return Number(lastInsertRowid);
});

const app = Fastify();
app.post("/api/v1/messages", {
  schema: {
    body: {
      type: "object",
      required: ["from", "text"],
      properties: {
        id: { type: "string" }, from: { type: "string" }, text: { type: "string" }, type: { type: "string" },
        channel: { type: "string" }, sent_at: { type: "string" }, metadata: { type: "object" },
      },
    },
  },
}, (request, reply) => {
  const now = Date.now();
  const id = store(request.body, now);
  reply.code(201).send({ id: `msg_${id}`, state: "received", received_at: new Date(now).toISOString() });
});
await app.listen({ port: 0, host: "127.0.0.1" });
console.log(app.server.address().port);
