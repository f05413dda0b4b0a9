// session.js - the WhatsApp session, kept sealed in the hub: each change is one commit there, and is waited for, so that no
// key is used that a restart would forget.
import { BufferJSON, initAuthCreds, proto } from 'baileys';

const PAGE = 500;
const VALUES = 500;                     // the hub takes a thousand at once

const pack = (value) => Buffer.from(JSON.stringify(value, BufferJSON.replacer)).toString('base64');
const unpack = (text) => JSON.parse(Buffer.from(text, 'base64').toString(), BufferJSON.reviver);

export async function openSession(hub) {
    const kept = new Map();

    for (let after = ''; ;) {
        const page = await hub.must('GET', `/api/v1/bridge/state?limit=${PAGE}&after=${encodeURIComponent(after)}`);
        for (const { name, value } of page.items)
            kept.set(name, unpack(value));
        if (page.items.length === 0)
            break;
        after = page.items[page.items.length - 1].name;
    }
    const creds = kept.get('creds') ?? initAuthCreds();

    let last = Promise.resolve();       // one after the other: an older value never overtakes a newer one

    async function put(values) {
        for (let i = 0; i < values.length; i += VALUES)
            await hub.must('PUT', '/api/v1/bridge/state', { values: values.slice(i, i + VALUES) });
    }

    function store(values) {
        const stored = last.then(() => put(values));
        last = stored.catch(() => {});
        return stored;
    }

    return {
        isNew: !creds.me,
        state: {
            creds,
            keys: {
                async get(type, ids) {
                    const found = {};
                    for (const id of ids) {
                        let value = kept.get(`key:${type}:${id}`);
                        if (value && type === 'app-state-sync-key')
                            value = proto.Message.AppStateSyncKeyData.fromObject(value);
                        if (value !== undefined)
                            found[id] = value;
                    }
                    return found;
                },
                async set(data) {
                    const values = [];
                    for (const [type, entries] of Object.entries(data))
                        for (const [id, value] of Object.entries(entries)) {
                            const name = `key:${type}:${id}`;
                            if (value === null || value === undefined)
                                kept.delete(name);
                            else
                                kept.set(name, value);
                            values.push({ name, value: value ? pack(value) : null });
                        }
                    await store(values);
                },
            },
        },
        saveCreds: () => store([{ name: 'creds', value: pack(creds) }]),
        /** The device was unlinked: nothing of it is good any more. */
        async forget() {
            await store([...kept.keys(), 'creds'].map((name) => ({ name, value: null })));
            kept.clear();
        },
    };
}
