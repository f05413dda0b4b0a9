"""The hub against a simulated server of Photon's: a key in a header, the channel made from the environment."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "..", "lib"), os.path.join(HERE, "..", "bluebubbles")]
from hub import Cases, Hub  # noqa: E402
from mac import Mac  # noqa: E402
from mac_test import Run, run_all  # noqa: E402


def main():
    cases = Cases("photon peer:")
    mac = Mac(photon=True, secret="k3y-of-the-line")
    with Hub(env={"IMESSAGE_ENDPOINT": mac.url, "IMESSAGE_API_KEY": mac.secret}) as hub:
        run = Run(hub, mac, "photon")
        cases.run("the environment makes the channel", run.configure)
        run.listening()
        run.register()
        run_all(cases, run)
        cases.run("lost webhooks are caught up, once", run.dropped)
    mac.close()
    cases.exit()


if __name__ == "__main__":
    main()
