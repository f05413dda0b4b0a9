"""Mail servers that others wrote, on loopback: Dovecot for the mailbox, npm smtp-server for what goes out. They run as
whoever runs the test: root (Dovecot then uses the users of its package) or not."""
import grp
import imaplib
import json
import os
import pwd
import shutil
import ssl
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
sys.path.insert(0, os.path.join(ROOT, "tests", "lib"))
from hub import free_port, until  # noqa: E402

USER, PASSWORD = "help@hub.test", "pass-word"
DOVECOT = """base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
default_client_limit = 2000
default_process_limit = 500
mail_max_userip_connections = 500
mail_location = maildir:{folder}/mail/%u
mailbox_idle_check_interval = 1 secs
first_valid_uid = {uid}
first_valid_gid = {gid}
passdb {{
  driver = static
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain}
  }}
  inet_listener imaps {{
    port = {tls}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
namespace inbox {{
  inbox = yes
  mailbox Sent {{
    auto = create
  }}
}}
"""


class Certificate:
    """A self-signed certificate for localhost; who trusts it sets SSL_CERT_FILE to `cert`."""

    def __init__(self, folder):
        self.cert, self.key = os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", self.key,
                        "-out", self.cert,
                        "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
                       check=True, capture_output=True, timeout=60)


class Dovecot:
    """The mailbox. `port` speaks TLS from the start, `plain` offers STARTTLS."""

    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="hub-dovecot-")
        self.port, self.plain, self.process = free_port(), free_port(), None

    def __enter__(self):
        root = os.geteuid() == 0
        mail = pwd.getpwnam("dovecot") if root else pwd.getpwuid(os.geteuid())
        me, group = mail.pw_name, grp.getgrgid(mail.pw_gid).gr_name
        os.chmod(self.folder, 0o755)
        self.certificate = Certificate(self.folder)
        os.mkdir(os.path.join(self.folder, "mail"))
        if root:
            os.chown(os.path.join(self.folder, "mail"), mail.pw_uid, mail.pw_gid)
        with open(os.path.join(self.folder, "conf"), "w", encoding="utf-8") as file:
            file.write(DOVECOT.format(folder=self.folder, internal=me, group=group, login="dovenull" if root else me,
                                      uid=mail.pw_uid, gid=mail.pw_gid, password=PASSWORD, plain=self.plain,
                                      tls=self.port))
        self.start()
        return self

    def start(self):
        self.process = subprocess.Popen(["dovecot", "-F", "-c", os.path.join(self.folder, "conf")],
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                        env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin"})
        until(self.answers, wait_s=20, every_s=0.1)

    def stop(self):
        self.process.terminate()
        self.process.wait(15)

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self):
        with open(os.path.join(self.folder, "log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def answers(self):
        assert self.process.poll() is None, self.log()
        try:
            self.session().logout()
            return True
        except (OSError, imaplib.IMAP4.error):
            return False

    def session(self, user=USER):
        context = ssl.create_default_context(cafile=self.certificate.cert)
        session = imaplib.IMAP4_SSL("localhost", self.port, ssl_context=context, timeout=10)
        session.login(user, PASSWORD)
        return session

    def put(self, *mails, folder="INBOX", user=USER):
        """Another mail program puts mails into a folder."""
        session = self.session(user)
        for mail in mails:
            data = mail.encode() if isinstance(mail, str) else mail
            status, said = session.append(folder, None, None, data.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
            assert status == "OK", said
        session.logout()

    def seen(self):
        """How many mails are marked as read."""
        session = self.session()
        session.select("INBOX", readonly=True)
        found = session.search(None, "SEEN")[1][0].split()
        session.logout()
        return len(found)


class Smtp:
    """Where mail goes out to; `mails` is what it took, as mailparser reads it."""

    def __init__(self, certificate):
        self.certificate, self.port, self.tls = certificate, free_port(), free_port()
        self.log = os.path.join(os.path.dirname(certificate.cert), "mails.jsonl")
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen(
            [os.path.join(ROOT, "tools", "node"), os.path.join(HERE, "smtp.js"), str(self.port), str(self.tls),
             self.certificate.cert, self.certificate.key, self.log], stdout=subprocess.PIPE, text=True, cwd=HERE)
        assert self.process.stdout.readline() == "ready\n"
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(10)
        self.process.stdout.close()

    def mails(self, **wanted):
        try:
            with open(self.log, encoding="utf-8") as file:
                mails = [json.loads(line) for line in file]
        except FileNotFoundError:
            return []
        return [mail for mail in mails if all(mail[name] == value for name, value in wanted.items())]
