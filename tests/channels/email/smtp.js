// smtp.js PORT TLS_PORT CERT KEY LOG - a mail server that others wrote (npm smtp-server): STARTTLS on one port,
// TLS from the start on the other, a login, refusals by the recipient's name. What it takes is read by mailparser
// and written to LOG, one JSON line each, the raw mail in base64 with it.
'use strict';
const fs = require('fs');
const { SMTPServer } = require('smtp-server');
const { simpleParser } = require('mailparser');

const [port, tlsPort, cert, key, log] = process.argv.slice(2);
const refusal = (code, text) => Object.assign(new Error(text), { responseCode: code });

const options = {
    key: fs.readFileSync(key), cert: fs.readFileSync(cert), authMethods: ['PLAIN', 'LOGIN', 'XOAUTH2'], logger: false,
    disableReverseLookup: true, size: 3 * 1024 * 1024,
    onAuth(auth, session, done) {
        const good = auth.username === 'help@hub.test' &&
            (auth.password === 'pass-word' || auth.accessToken === 't0ken');
        done(good ? null : refusal(535, '5.7.8 bad credentials'), good ? { user: auth.username } : undefined);
    },
    onRcptTo(address, session, done) {
        const name = address.address.split('@')[0];
        done(name === 'unknown' ? refusal(550, '5.1.1 no such user')
            : name === 'later' ? refusal(451, '4.7.1 greylisted')
                : name === 'gone' ? refusal(421, '4.3.2 shutting down') : undefined);
    },
    onData(stream, session, done) {
        const parts = [];
        stream.on('data', (part) => parts.push(part));
        stream.on('end', async () => {
            const raw = Buffer.concat(parts), to = session.envelope.rcptTo[0].address, name = to.split('@')[0];
            if (name === 'spam') return done(refusal(554, '5.7.1 looks like spam'));
            const mail = await simpleParser(raw);
            fs.appendFileSync(log, JSON.stringify({
                from: session.envelope.mailFrom.address, to, secure: session.secure, ehlo: session.hostNameAppearsAs,
                subject: mail.subject, text: mail.text, id: mail.messageId, sender: mail.from && mail.from.value[0],
                inReplyTo: mail.inReplyTo, references: [].concat(mail.references || []), date: mail.date,
                auto: mail.headers.get('auto-submitted') || null,
                files: mail.attachments.map((file) => ({ name: file.filename, type: file.contentType,
                    hex: file.content.toString('hex') })),
                raw: raw.toString('base64'),
            }) + '\n');
            if (name === 'silent') return undefined;            // took it, and never says so
            if (name === 'reset') { for (const one of server.connections) one._socket.destroy(); return undefined; }
            return done(null, 'queued as 4711');
        });
        return undefined;
    },
};
const server = new SMTPServer(options);
const secure = new SMTPServer({ ...options, secure: true });
server.on('error', () => {});
secure.on('error', () => {});
server.listen(Number(port), '127.0.0.1', () => secure.listen(Number(tlsPort), '127.0.0.1', () => console.log('ready')));
