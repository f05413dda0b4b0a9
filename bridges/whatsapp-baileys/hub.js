// hub.js - the hub's side: the operations for bridges, over HTTP or the hub's unix socket.
import http from 'node:http';
import https from 'node:https';

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export class HubError extends Error {
    constructor(status, text) {
        super(`the hub answered ${status}: ${text.slice(0, 300)}`);
        this.status = status;
    }
}

export class Hub {
    /** `url`: https://hub.example.com, or unix:/path/of/the/socket; `key`: of a device bound to the channel. */
    constructor(url, key) {
        this.socketPath = url.startsWith('unix:') ? url.slice(5) : undefined;
        this.base = new URL(this.socketPath ? 'http://hub' : url);
        this.key = key;
        const kind = this.base.protocol === 'https:' ? https : http;
        this.agent = new kind.Agent({ keepAlive: true, maxSockets: 8 });
        this.request = kind.request;
    }

    call(method, path, body, timeoutMs = 30000) {
        const data = body === undefined ? undefined : Buffer.from(JSON.stringify(body));
        const headers = { authorization: `Bearer ${this.key}` };
        if (data) {
            headers['content-type'] = 'application/json';
            headers['content-length'] = data.length;
        }
        return new Promise((done, failed) => {
            const options = { method, headers, agent: this.agent, socketPath: this.socketPath, timeout: timeoutMs };
            const request = this.request(new URL(path, this.base), options, (answer) => {
                const parts = [];
                answer.on('data', (part) => parts.push(part));
                answer.on('error', failed);
                answer.on('end', () => {
                    const text = Buffer.concat(parts).toString();
                    if (answer.statusCode < 200 || answer.statusCode > 299)
                        failed(new HubError(answer.statusCode, text));
                    else
                        done(text ? JSON.parse(text) : undefined);
                });
            });
            request.on('timeout', () => request.destroy(new Error('the hub did not answer in time')));
            request.on('error', failed);
            request.end(data);
        });
    }

    /** The same until it works: the hub may be away for a while. A refusal (4xx but 401, 403, 408, 429) is thrown. */
    async must(method, path, body) {
        for (let wait = 200; ; wait = Math.min(wait * 2, 5000)) {
            try {
                return await this.call(method, path, body);
            } catch (error) {
                if (error.status >= 400 && error.status < 500 && ![401, 403, 408, 429].includes(error.status))
                    throw error;
                await sleep(wait);
            }
        }
    }

    outbox(waitS) {
        return this.call('GET', `/api/v1/bridge/outbox?wait=${waitS}&limit=20`, undefined, (waitS + 15) * 1000);
    }

    receipts(list) {
        return this.call('POST', '/api/v1/bridge/receipts', { receipts: list });
    }

    events(list) {
        return this.call('POST', '/api/v1/bridge/events', { events: list });
    }

    status(state, more = {}) {
        return this.call('POST', '/api/v1/bridge/status', { state, ...more });
    }
}
