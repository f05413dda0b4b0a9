#!/usr/bin/env node
// bridge.js - a WhatsApp account as a linked device, for one channel of kind baileys. docs/channels/baileys.md.
import crypto from 'node:crypto';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import makeWASocket, { Browsers } from 'baileys';
import pino from 'pino';
import qrcode from 'qrcode-terminal';
import { Hub, sleep } from './hub.js';
import { changeOf, eventOf, addressOf, reactionOf, rowInserter, Spool } from './inbound.js';
import { Outbox } from './outbox.js';
import { openSession } from './session.js';

const env = process.env;
const log = pino({ level: env.LOG_LEVEL ?? 'warn' }, pino.destination(2));

if (!env.HUB_URL || !env.HUB_KEY) {
    console.error('Set HUB_URL (https://hub.example.com or unix:/path/hub.sock) and HUB_KEY (the key that\n'
                  + '`message-hub devices register whatsapp-bridge --channel CHANNEL` showed).');
    process.exit(2);
}

const hub = new Hub(env.HUB_URL, env.HUB_KEY);
const outbox = new Outbox(hub, log, Number(env.SEND_GAP_MS ?? 3000));
const name = crypto.createHash('sha256').update(env.HUB_KEY).digest('hex').slice(0, 16);
let socket, session, stopping = false, badSessions = 0, last = { state: 'starting' };

function tell(state, more = {}) {
    last = { state, more };
    hub.status(state, more).catch((error) => log.warn({ error: error.message }, 'the hub did not take the status'));
}

/** One live socket per session: two of them throw each other out. */
async function lock() {
    if (env.DATABASE_URL) {
        const { default: pg } = await import('pg');
        const client = new pg.Client({ connectionString: env.DATABASE_URL });
        await client.connect();
        const { rows } = await client.query('SELECT pg_try_advisory_lock(hashtextextended($1, 0)) AS taken', [name]);
        client.on('error', () => { console.error('The database ended the lock.'); process.exit(1); });
        if (!rows[0].taken)
            throw new Error('Another bridge runs for this channel.');
        return;
    }
    await new Promise((done, failed) => {
        net.createServer().unref().once('error', () => failed(new Error('Another bridge runs for this channel.')))
            .listen(`\0message-hub-baileys-${name}`, done);
    });
}

async function openSpool() {
    const folder = env.SPOOL_DIR ?? path.join(os.homedir(), '.local/state/message-hub-baileys', name);
    let insert = (events) => hub.events(events);

    if (env.DATABASE_URL) {
        const { default: pg } = await import('pg');
        insert = rowInserter(new pg.Pool({ connectionString: env.DATABASE_URL, max: 2 }), hub, env.HUB_CHANNEL);
    }
    return new Spool(folder, insert, log);
}

function keep(spool, event) {
    if (event)
        spool.add(event);
}

function listen(spool) {
    socket.ev.on('creds.update', () => session.saveCreds().catch((error) =>
        log.error({ error: error.message }, 'the session was not stored')));
    // The receipt has gone out already, and listeners hear of a message only after the library has stored keys, which
    // waits for the hub: so it is kept at the moment that it is told.
    const { emit } = socket.ev;
    socket.ev.emit = (name, data) => {
        if (name === 'messages.upsert')
            for (const message of data.messages)    // "append" as well: what was sent while we were away
                keep(spool, eventOf(message, false));
        return emit(name, data);
    };
    socket.ev.on('messaging-history.set', ({ messages }) => {
        for (const message of messages)
            keep(spool, eventOf(message, true));
    });
    socket.ev.on('messages.update', (updates) => {
        for (const update of updates) {
            keep(spool, changeOf(update));
            outbox.status(update);
        }
    });
    socket.ev.on('messages.reaction', (reactions) => reactions.forEach((one) => keep(spool, reactionOf(one))));
    socket.ev.on('lid-mapping.update', ({ lid, pn }) => {
        if (lid && pn)
            keep(spool, { kind: 'moved', id: `lid-${lid}`, from: addressOf(lid), text: addressOf(pn) });
    });
    socket.ws.on('CB:ack,class:message', (node) => outbox.acknowledged(node));
}

/** What a closed connection means: how long to wait before the next, or why there is none. */
function after(code) {
    if (code === 515)
        return { wait: 0 };
    if (code === 440)
        return { stop: 'Another client took this session over. Stop it, then start the bridge again.' };
    if (code === 403)
        return { stop: 'WhatsApp has blocked this account.' };
    if (code === 401 || code === 411)
        return { forget: true, wait: 1000 };
    if (code === 500 && ++badSessions > 2)
        return { forget: true, wait: 1000 };
    return { wait: undefined };
}

async function pair({ qr }) {
    const phone = env.PAIR_PHONE;

    if (phone && !socket.authState.creds.pairingCode) {
        const code = await socket.requestPairingCode(phone);
        console.log(`Type this code on the phone (Linked devices, Link with phone number): ${code}`);
        tell('pairing', { code });
    } else if (!phone) {
        console.log('Scan this with WhatsApp on the phone (Settings, Linked devices):');
        qrcode.generate(qr, { small: true }, (text) => console.log(text));
        tell('pairing', { code: qr });
    }
}

/** One connection, until it is closed. Returns its close code. */
function connect(spool) {
    const options = { auth: session.state, logger: log.child({ part: 'baileys' }), browser: Browsers.ubuntu('Message Hub'),
        markOnlineOnConnect: false, syncFullHistory: false, emitOwnEvents: false,
        shouldIgnoreJid: (jid) => jid === 'status@broadcast' || jid?.endsWith('@newsletter'),
        getMessage: async (key) => outbox.content(key.id) };

    if (env.WHATSAPP_URL)
        options.waWebSocketUrl = env.WHATSAPP_URL;
    if (env.WHATSAPP_VERSION)
        options.version = env.WHATSAPP_VERSION.split('.').map(Number);
    socket = makeWASocket(options);
    listen(spool);
    return new Promise((closed) => {
        socket.ev.on('connection.update', (update) => {
            if (update.qr)
                pair(update).catch((error) => tell('pairing', { error: error.message }));
            if (update.connection === 'open') {
                badSessions = 0;
                outbox.use(socket);
                tell('open');
            }
            if (update.connection === 'close') {
                outbox.use(undefined);
                socket.ev.removeAllListeners('connection.update');
                closed(update.lastDisconnect?.error?.output?.statusCode ?? 0);
            }
        });
    });
}

async function live(spool) {
    for (let wait = 500; !stopping; wait = Math.min(wait * 2, 60000)) {
        const began = Date.now();
        const code = await connect(spool);
        const next = after(code);

        if (stopping)
            return;
        log.warn({ code }, 'the connection was closed');
        if (next.stop) {
            tell('stopped', { error: next.stop });
            console.error(next.stop);
            await sleep(2000);
            process.exit(1);
        }
        if (next.forget) {
            await session.forget();
            session = await openSession(hub);
            tell('pairing', { error: 'The phone unlinked this device: pair it again.' });
        }
        if (Date.now() - began > 60000)
            wait = 500;
        if (next.wait === undefined)
            tell('waiting', { error: `WhatsApp closed the connection (${code}); the next try follows.` });
        await sleep(next.wait ?? wait * (0.7 + Math.random() * 0.6));
    }
}

/** Never logout: that would unlink the device. */
function stop() {
    if (stopping)
        process.exit(1);
    stopping = true;
    outbox.stopping = true;
    outbox.use(undefined);
    socket?.end(undefined);
    hub.status('stopped').catch(() => {}).finally(() => setTimeout(() => process.exit(0), 300));
}

process.on('SIGTERM', stop);
process.on('SIGINT', stop);
process.on('unhandledRejection', (error) => log.error({ error: String(error?.stack ?? error) }, 'unexpected'));

try {
    await lock();
} catch (error) {
    console.error(error.message);
    process.exit(1);
}
const spool = await openSpool();
spool.run();
session = await openSession(hub);
outbox.run();
outbox.tell();
setInterval(() => tell(last.state, last.more), 60000).unref();
await live(spool);
