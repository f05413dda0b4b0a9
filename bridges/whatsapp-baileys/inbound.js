// inbound.js - from WhatsApp to the hub. WhatsApp believes a message delivered before it reaches us, so the first thing
// that happens to it is a line in the spool, written before anything is waited for; a line leaves the spool when the hub
// has it. A line that goes twice is one message, by its id.
import fs from 'node:fs';
import path from 'node:path';
import { jidNormalizedUser, normalizeMessageContent, WAMessageStubType } from 'baileys';
import { sleep } from './hub.js';

const BATCH = 200;
const HISTORY_MS = 12 * 3600 * 1000;    // older ones are stored, not answered
const TEXT_MAX = 65536;

/** "+15550001" for a phone's id, the id itself for a privacy id or a group. */
export function addressOf(jid) {
    if (!jid)
        return undefined;
    const plain = jidNormalizedUser(jid);
    return plain.endsWith('@s.whatsapp.net') ? `+${plain.split('@')[0]}` : plain;
}

export function jidOf(address) {
    return /^\+?\d+$/.test(address) ? `${address.replace('+', '')}@s.whatsapp.net` : address;
}

/** A phone number is what people know; the privacy id is an alias where both are told. */
function who(jid, alt) {
    const both = [jid, alt].filter(Boolean).map(addressOf);
    both.sort((a, b) => b.startsWith('+') - a.startsWith('+'));
    return { from: both[0], aliases: both.slice(1) };
}

const clean = (text) => String(text ?? '').replaceAll('\0', '').toWellFormed().slice(0, TEXT_MAX);

function contentOf(message) {
    const content = normalizeMessageContent(message) ?? {};
    const media = { imageMessage: 'image', videoMessage: 'video', audioMessage: 'audio', documentMessage: 'file',
                    stickerMessage: 'image' };

    if (content.conversation)
        return { text: content.conversation };
    if (content.extendedTextMessage)
        return { text: content.extendedTextMessage.text, quoted: content.extendedTextMessage.contextInfo?.stanzaId };
    for (const [name, type] of Object.entries(media))
        if (content[name])
            return { text: content[name].caption || `[${type}]`, type, quoted: content[name].contextInfo?.stanzaId };
    if (content.locationMessage)
        return { type: 'location', text: `[location ${content.locationMessage.degreesLatitude}, `
                                         + `${content.locationMessage.degreesLongitude}]` };
    if (content.contactMessage)
        return { text: `[contact ${content.contactMessage.displayName ?? ''}]` };
    return undefined;                   // reactions, protocol: they come as events of their own
}

function isForUs(jid) {
    return jid && jid !== 'status@broadcast' && !/@(broadcast|newsletter|bot)$/.test(jid);
}

export function eventOf(message, history) {
    const { key } = message, group = key.remoteJid?.endsWith('@g.us');
    const at = Number(message.messageTimestamp ?? 0) * 1000;
    let content = contentOf(message.message);

    if (!isForUs(key.remoteJid) || !key.id)
        return undefined;
    if (!content && !message.message && message.messageStubType === WAMessageStubType.CIPHERTEXT)
        return undefined;               // its content follows under the same id
    if (!content)
        return undefined;
    const chat = who(key.remoteJid, key.remoteJidAlt);
    const sender = group ? who(key.participant, key.participantAlt) : chat;
    const event = { kind: key.fromMe ? 'own' : 'message', id: key.id, ...(key.fromMe && group ? chat : sender),
                    text: clean(content.text), type: content.type ?? 'whatsapp' };
    if (group)
        event.group = jidNormalizedUser(key.remoteJid);
    if (message.pushName && !key.fromMe)
        event.name = clean(message.pushName).slice(0, 60);
    if (content.quoted)
        event.reply_to = content.quoted;
    if (at > 0)
        event.sent_at = new Date(at).toISOString();
    if (history || (at > 0 && Date.now() - at > HISTORY_MS))
        event.history = true;
    return event;
}

/** Edits, deletions: what is told of a message that is known. */
export function changeOf({ key, update }) {
    const edited = update.message?.editedMessage?.message;

    if (!isForUs(key.remoteJid) || !key.id)
        return undefined;
    if (edited) {
        const content = contentOf(edited);
        return content && { kind: 'edit', id: key.id, text: clean(content.text) };
    }
    if (update.messageStubType === WAMessageStubType.REVOKE)
        return { kind: 'delete', id: key.id };
    return undefined;
}

export function reactionOf({ key, reaction }) {
    const by = reaction.key ?? {};
    const event = { kind: 'reaction', id: key.id, ...who(by.participant ?? by.remoteJid, by.participantAlt
                                                         ?? by.remoteJidAlt) };
    if (!isForUs(key.remoteJid) || !key.id || by.fromMe)
        return undefined;
    if (reaction.text)
        event.text = reaction.text;
    return event;
}

export class Spool {
    /** `insert(events)` hands them to the hub; what it throws with `status` 4xx is not tried again. */
    constructor(folder, insert, log) {
        fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
        this.file = path.join(folder, 'spool.jsonl');
        this.insert = insert;
        this.log = log;
        this.done = 0;                  // bytes that the hub has
        this.fd = fs.openSync(this.file, 'a+', 0o600);
        this.size = fs.fstatSync(this.fd).size;
        this.waiting = undefined;
    }

    /** Returns when it cannot get lost any more. */
    add(event) {
        const line = Buffer.from(JSON.stringify(event) + '\n');
        fs.writeSync(this.fd, line);
        fs.fdatasyncSync(this.fd);
        this.size += line.length;
        this.waiting?.();
    }

    /** The lines that the hub has not, as far as they are whole. */
    next() {
        const bytes = Buffer.alloc(Math.min(this.size - this.done, 1 << 20));
        const read = fs.readSync(this.fd, bytes, 0, bytes.length, this.done);
        const events = [];
        let used = 0;

        for (let end; events.length < BATCH && (end = bytes.indexOf(10, used)) >= 0 && end < read; used = end + 1)
            try {
                events.push(JSON.parse(bytes.subarray(used, end).toString()));
            } catch {
                this.log.warn('a broken line of the spool was passed over');    // the end of a line at a power cut
            }
        return { events, used };
    }

    async run() {
        for (let wait = 200; ;) {
            const { events, used } = this.next();
            if (used === 0) {
                if (this.done > 0 && this.done === this.size) {
                    fs.ftruncateSync(this.fd, 0);
                    this.done = this.size = 0;
                }
                await new Promise((go) => { this.waiting = go; });
                this.waiting = undefined;
                continue;
            }
            try {
                if (events.length > 0)
                    await this.insert(events);
            } catch (error) {
                if (![400, 413, 422].includes(error.status)) {
                    await sleep(wait);
                    wait = Math.min(wait * 2, 5000);
                    continue;
                }
                this.log.error({ error: error.message }, 'the hub refused what came; it stays in refused.jsonl');
                fs.appendFileSync(this.file.replace('spool', 'refused'), events.map((e) => JSON.stringify(e) + '\n')
                    .join(''), { mode: 0o600 });
            }
            this.done += used;
            wait = 200;
        }
    }
}

/** INSERT into the hub's inbound_rows; what that table has no column for goes over the hub's door. */
export function rowInserter(pool, hub, channel) {
    return async (events) => {
        const rows = events.filter((event) => event.kind === 'message' || event.kind === 'own');
        const others = events.filter((event) => !rows.includes(event));
        if (rows.length > 0)
            await pool.query(
                'INSERT INTO inbound_rows (channel, sender, sender_name, group_id, text, type, external_id, sent_at_ms, '
                + 'is_history, from_me, metadata) SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], '
                + '$5::text[], $6::text[], $7::text[], $8::bigint[], $9::bigint[], $10::bigint[], $11::text[])',
                [rows.map(() => channel), rows.map((e) => e.from), rows.map((e) => e.name ?? null),
                 rows.map((e) => e.group ?? null), rows.map((e) => e.text), rows.map((e) => e.type),
                 rows.map((e) => e.id), rows.map((e) => (e.sent_at ? Date.parse(e.sent_at) : null)),
                 rows.map((e) => (e.history ? 1 : 0)), rows.map((e) => (e.kind === 'own' ? 1 : 0)),
                 rows.map((e) => (e.aliases?.length ? JSON.stringify({ aliases: e.aliases }) : null))]);
        if (others.length > 0)
            await hub.events(others);
    };
}
