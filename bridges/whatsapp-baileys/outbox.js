// outbox.js - from the hub to WhatsApp. The id of each message is made of the hub's key, so a repeat has the same id and
// WhatsApp knows it. A message is sent when WhatsApp's own acknowledgement has come, not when it was written.
import crypto from 'node:crypto';
import { sleep } from './hub.js';
import { jidOf } from './inbound.js';

const ACK_MS = 30000;                   // then it is sent once more, with the same id
const REMEMBERED = 1000;

const hints = {
    463: 'WhatsApp lets this account start no new chats for now. Wait, and let people write first.',
    479: 'WhatsApp refused the message; it is tried again with a fresh list of devices.',
    429: 'WhatsApp says: slower.',
};

export function messageId(key) {
    return '3EB0' + crypto.createHash('sha256').update(key).digest('hex').slice(0, 18).toUpperCase();
}

export class Outbox {
    constructor(hub, log, gapMs) {
        this.hub = hub;
        this.log = log;
        this.gapMs = gapMs;
        this.sent = new Map();          // id -> { key, at, content }
        this.said = [];                 // receipts that the hub has not yet
        this.socket = undefined;
        this.stopping = false;
    }

    content(id) {
        return this.sent.get(id)?.content;
    }

    remember(id, entry) {
        this.sent.delete(id);
        this.sent.set(id, entry);
        if (this.sent.size > REMEMBERED)
            this.sent.delete(this.sent.keys().next().value);
    }

    /** A socket that is open, or none. What was not acknowledged by the last one goes again. */
    use(socket) {
        this.socket = socket;
        for (const entry of this.sent.values())
            if (!entry.acked)
                entry.at = 0;
        this.opened?.();
    }

    say(receipt) {
        this.said.push(receipt);
        this.speak?.();
    }

    /** WhatsApp's answer to what we sent: the raw stanza, for the library tells only of refusals. */
    acknowledged(node) {
        const { id, error } = node.attrs, entry = this.sent.get(id);

        if (!entry)
            return;
        if (!error) {
            entry.acked = true;
            this.say({ key: entry.key, state: 'sent', external_id: id });
            return;
        }
        this.sent.delete(id);
        if (error === '429' || error === '479')
            this.say({ key: entry.key, state: 'retry', code: error, hint: hints[error], retry_after: 60 });
        else
            this.say({ key: entry.key, state: 'failed', external_id: id, code: error,
                       hint: hints[error] ?? `WhatsApp refused the message (${error}).` });
    }

    /** delivered and read, of what was sent at any time: the hub knows it by its id. */
    status({ key, update }) {
        if (!key.fromMe || !key.id)
            return;
        if (update.status === 3)
            this.say({ external_id: key.id, state: 'delivered' });
        else if (update.status >= 4)
            this.say({ external_id: key.id, state: 'read' });
    }

    async sendOne(job) {
        const id = messageId(job.key), jid = jidOf(job.conversation ?? job.to), known = this.sent.get(id);
        const target = job.target && { remoteJid: jid, id: job.target, fromMe: true };
        let content;

        if (known && (known.acked || Date.now() - known.at < ACK_MS))
            return known.acked && this.say({ key: job.key, state: 'sent', external_id: id });
        if (job.act === 'read') {
            await this.socket.readMessages([{ remoteJid: jid, id: job.target, fromMe: false }]);
            return this.say({ key: job.key, state: 'sent' });
        }
        if (job.attachments.length > 0)
            return this.say({ key: job.key, state: 'failed', code: 'no_files', hint: 'This bridge sends text only.' });
        if (job.act === 'message')
            content = { text: job.text, linkPreview: null };
        else if (job.act === 'reaction')
            content = { react: { text: job.text, key: { ...target, fromMe: false } } };
        else if (job.act === 'edit')
            content = { text: job.text, edit: target };
        else
            content = { delete: target };
        this.remember(id, { key: job.key, at: Date.now(), content: { conversation: job.text } });
        try {
            const options = { messageId: id };
            if (job.reply_to && job.act === 'message')
                options.quoted = { key: { remoteJid: jid, id: job.reply_to, fromMe: false }, message: { conversation: '' } };
            await this.socket.sendMessage(jid, content, options);
        } catch (error) {
            this.log.warn({ error: error.message }, 'a message was not written to WhatsApp; it goes again');
            if (this.sent.get(id))
                this.sent.get(id).at = 0;
        }
        return undefined;
    }

    async tell() {
        for (let wait = 200; !this.stopping;) {
            if (this.said.length === 0) {
                await new Promise((go) => { this.speak = go; });
                this.speak = undefined;
                continue;
            }
            const batch = this.said.slice(0, 200);
            try {
                await this.hub.receipts(batch);
                this.said.splice(0, batch.length);
                wait = 200;
            } catch (error) {
                if ([400, 413, 422].includes(error.status)) {
                    this.log.error({ error: error.message }, 'the hub refused receipts');
                    this.said.splice(0, batch.length);
                    continue;
                }
                await sleep(wait);
                wait = Math.min(wait * 2, 5000);
            }
        }
    }

    async run() {
        while (!this.stopping) {
            let jobs;
            if (!this.socket) {
                await new Promise((go) => { this.opened = go; });
                this.opened = undefined;
                continue;
            }
            try {
                jobs = (await this.hub.outbox(25)).items;
            } catch (error) {
                this.log.warn({ error: error.message }, 'the hub is away');
                await sleep(1000);
                continue;
            }
            let fresh = 0;
            for (const job of jobs) {
                if (!this.socket || this.stopping)
                    break;
                const before = this.sent.get(messageId(job.key))?.at;
                await this.sendOne(job);
                if (this.sent.get(messageId(job.key))?.at !== before) {
                    fresh++;
                    if (this.gapMs > 0)
                        await sleep(this.gapMs * (0.7 + Math.random() * 0.6));
                }
            }
            if (fresh === 0 && jobs.length > 0)
                await sleep(300);       // all of them wait for WhatsApp's acknowledgement
        }
    }
}
