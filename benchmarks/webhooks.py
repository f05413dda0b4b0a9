"""Requests that bring the hub a message each, signed as the providers sign them, in the file that load.c reads."""
import base64
import hashlib
import hmac
import json
import random
import time
import urllib.parse

OURS, TOKEN, CONTACTS = "+12025550100", "0123456789abcdef0123456789abcdef", 1000
ACCOUNT = "AC00000000000000000000000000000001"
WORDS = ("hello can you call me back about the order tomorrow at noon please für morgen danke café déjà délai price "
         "of the blue one yes ok see you soon what is new").split()
CHANNELS = {
    "messages": {"kind": "android"},
    "twilio": {"kind": "twilio", "settings": {"account_sid": ACCOUNT, "auth_token": TOKEN, "from": OURS}},
    "whatsapp": {"kind": "whatsapp", "settings": {"phone_number_id": "1234567890", "access_token": "t0ken",
                                                  "app_secret": TOKEN, "verify_token": "my-own-words"}},
    "smsgate": {"kind": "android", "settings": {"signing_key": TOKEN}},
}


def _hmac(data, method):
    return hmac.new(TOKEN.encode(), data, method)


def _messages(_, number, contact, text):
    body = json.dumps({"id": f"{number:016x}", "from": contact, "text": text, "type": "sms", "channel": "bench",
                       "sent_at": "2026-01-01T00:00:00Z", "metadata": {"sim": 1}}, ensure_ascii=False)
    return body.encode(), ["Content-Type: application/json"]


def _twilio(url, number, contact, text):
    identity = f"SM{number:032x}"
    pairs = {"ToCountry": "US", "ToState": "DC", "SmsMessageSid": identity, "NumMedia": "0", "ToCity": "",
             "FromZip": "01022", "SmsSid": identity, "FromState": "MA", "SmsStatus": "received",
             "FromCity": "CHICOPEE", "Body": text, "FromCountry": "US", "To": OURS, "ToZip": "", "NumSegments": "1",
             "MessageSid": identity, "AccountSid": ACCOUNT, "From": contact, "ApiVersion": "2010-04-01"}
    signed = url + "".join(name + pairs[name] for name in sorted(pairs))
    signature = base64.b64encode(_hmac(signed.encode(), hashlib.sha1).digest()).decode()
    return urllib.parse.urlencode(pairs).encode(), ["Content-Type: application/x-www-form-urlencoded",
                                                    "X-Twilio-Signature: " + signature]


def _whatsapp(_, number, contact, text):
    sender = contact[1:]
    value = {"messaging_product": "whatsapp",
             "metadata": {"display_phone_number": OURS, "phone_number_id": "1234567890"},
             "contacts": [{"profile": {"name": "Kerry"}, "wa_id": sender}],
             "messages": [{"from": sender, "id": f"wamid.{number:x}", "timestamp": "1767225600", "type": "text",
                           "text": {"body": text}}]}
    body = json.dumps({"object": "whatsapp_business_account", "entry": [
        {"id": "8856996819413533", "changes": [{"field": "messages", "value": value}]}]}).encode()
    return body, ["Content-Type: application/json", "X-Hub-Signature-256: sha256=" + _hmac(body, "sha256").hexdigest()]


def _smsgate(_, number, contact, text):
    now = str(int(time.time()))
    payload = {"messageId": f"{number:x}", "message": text, "sender": contact, "recipient": None, "simNumber": 1,
               "receivedAt": "2026-01-01T00:00:00.000Z"}
    body = json.dumps({"deviceId": "dev1", "event": "sms:received", "id": f"ev{number}", "payload": payload,
                       "webhookId": "wh1"}).encode()
    return body, ["Content-Type: application/json", "X-Timestamp: " + now,
                  "X-Signature: " + _hmac(body + now.encode(), "sha256").hexdigest()]


_MAKERS = {"messages": _messages, "twilio": _twilio, "whatsapp": _whatsapp, "smsgate": _smsgate}


def request(path, body, headers):
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: 127.0.0.1", *headers,
                        f"Content-Length: {len(body)}"]).encode() + b"\r\n\r\n" + body


def write_requests(file_path, requests):
    with open(file_path, "wb") as file:
        for one in requests:
            file.write(b"%d\n" % len(one) + one)


def arrivals(kind, url, more_headers, count):
    """So many requests of different messages, from contacts in turn."""
    path = urllib.parse.urlsplit(url).path
    random.seed(1)
    for number in range(count):
        text = " ".join(random.choices(WORDS, k=random.randint(4, 28))) + f" {number}"
        body, headers = _MAKERS[kind](url, number, f"+1202555{number * 7919 % CONTACTS:04}", text)
        yield request(path, body, headers + more_headers)


def forged(one):
    """The same request with another body under the signature."""
    head, body = one.split(b"\r\n\r\n", 1)
    return head + b"\r\n\r\n" + body.replace(b"OK", b"KO").replace(b"o", b"0")
