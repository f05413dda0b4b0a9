#include "channels/lib/twilio.h"

#define ADDRESS "Twilio cannot reach this number. Check it with the contact, or use another channel."
#define SENDER "Twilio does not let this account send from this sender. Check `from` and `messaging_service_sid`, " \
               "and that the number may send texts (console.twilio.com, Phone Numbers)."
#define REGION "Sending to this country is not enabled. Allow it in the console: Messaging, Settings, Geo permissions."
#define REGISTER "US carriers refuse unregistered senders. Register the number for A2P 10DLC, or verify the " \
                 "toll-free number, in the console."
#define SLOWLY "Twilio or the carrier asks to send slower. It is tried again by itself."
#define LATER "The carrier could not take it just now. It is tried again by itself."
#define ACCOUNT "Twilio refuses the account: it is suspended or closed. Look at console.twilio.com."
#define MEDIA "Twilio could not fetch the file. Is the hub's public-url reachable from the internet, without a login?"

/* In order of the numbers; the last row is for all others. */
const struct outcome_code twilio_errors[] = {
    { 20003, 20003, SEND_REFUSED, OUTCOME_FAULT, 0,
      "Twilio refuses the key. Copy account_sid and auth_token from console.twilio.com into the channel's settings." },
    { 20005, 20005, SEND_REFUSED, OUTCOME_FAULT, 0, ACCOUNT },
    { 20429, 20429, SEND_RETRY, OUTCOME_THROTTLED, 0, SLOWLY },
    { 20500, 20503, SEND_RETRY, OUTCOME_FAULT, 0, "Twilio is in trouble. It is tried again by itself." },
    { 21211, 21211, SEND_REFUSED, 0, 0, ADDRESS },
    { 21214, 21214, SEND_REFUSED, 0, 0, ADDRESS },
    { 21217, 21217, SEND_REFUSED, 0, 0, ADDRESS },
    { 21408, 21408, SEND_REFUSED, 0, 0, REGION },
    { 21602, 21602, SEND_REFUSED, 0, 0, "Twilio sends nothing without a text or a file." },
    { 21603, 21603, SEND_REFUSED, OUTCOME_FAULT, 0, "Set `from` or `messaging_service_sid` in the settings." },
    { 21606, 21606, SEND_REFUSED, OUTCOME_FAULT, 0, SENDER },
    { 21609, 21609, SEND_REFUSED, OUTCOME_FAULT, 0,
      "Twilio does not accept the call-back address. Set the hub's public-url to an https URL without underscores." },
    { 21610, 21610, SEND_REFUSED, OUTCOME_OPTED_OUT, 0,
      "The contact wrote STOP to this number. Nothing can be sent until they write START." },
    { 21611, 21611, SEND_RETRY, OUTCOME_THROTTLED, 60, "Too much waits at this number. It is tried again." },
    { 21612, 21612, SEND_REFUSED, 0, 0, "This sender cannot reach this number. Use one of the contact's country." },
    { 21614, 21614, SEND_REFUSED, 0, 0, "This is no mobile number. Ask the contact for one." },
    { 21617, 21617, SEND_REFUSED, 0, 0, "The text is longer than 1600 characters." },
    { 21620, 21620, SEND_REFUSED, 0, 0, MEDIA },
    { 21623, 21623, SEND_REFUSED, 0, 0, "A message may have ten files at most." },
    { 21650, 21669, SEND_REFUSED, OUTCOME_FAULT, 0, SENDER },
    { 21703, 21704, SEND_REFUSED, OUTCOME_FAULT, 0,
      "The Messaging Service has no sender. Add a number to its sender pool in the console." },
    { 21712, 21712, SEND_REFUSED, OUTCOME_FAULT, 0,
      "The Messaging Service has no sender. Add a number to its sender pool in the console." },
    { 30001, 30001, SEND_RETRY, OUTCOME_THROTTLED, 60, SLOWLY },
    { 30002, 30002, SEND_REFUSED, OUTCOME_FAULT, 0, ACCOUNT },
    { 30003, 30003, SEND_RETRY, 0, 3 * 3600, "The phone is off or out of reach. It is tried again in some hours." },
    { 30004, 30004, SEND_REFUSED, 0, 0, "The contact or the carrier blocks messages from this sender." },
    { 30005, 30006, SEND_REFUSED, 0, 0, ADDRESS },
    { 30007, 30007, SEND_REFUSED, 0, 0,
      "The carrier filtered it as spam. Change the text: no link shorteners, name yourself, and register the sender." },
    { 30008, 30008, SEND_RETRY, 0, 0, LATER },
    { 30017, 30017, SEND_RETRY, 0, 60, LATER },
    { 30019, 30019, SEND_REFUSED, 0, 0, "The file is too large for the carrier. Send a smaller one." },
    { 30022, 30022, SEND_RETRY, OUTCOME_THROTTLED, 0, SLOWLY },
    { 30023, 30023, SEND_RETRY, OUTCOME_THROTTLED, 12 * 3600, "The day's limit of this sender is reached." },
    { 30027, 30027, SEND_RETRY, OUTCOME_THROTTLED, 12 * 3600, "The day's limit of this sender is reached." },
    { 30032, 30032, SEND_REFUSED, 0, 0, REGISTER },
    { 30034, 30034, SEND_REFUSED, 0, 0, REGISTER },
    { 30410, 30410, SEND_RETRY, 0, 60, LATER },
    { 63016, 63016, SEND_REFUSED, 0, 0,
      "WhatsApp allows free texts only within 24 hours after the contact wrote. Wait until they write, or send an "
      "approved template." },
    { 63017, 63018, SEND_RETRY, OUTCOME_THROTTLED, 0, SLOWLY },
    { 0, 0, SEND_REFUSED, 0, 0, "Twilio refused it; the number leads to its meaning: twilio.com/docs/api/errors." },
};
