#include "channels/lib/whatsapp.h"

#define SLOWLY "WhatsApp asks to send slower. It is tried again by itself."
#define TROUBLE "WhatsApp is in trouble. It is tried again by itself."
#define TOKEN "Meta refuses the access token. Make a new system user token with whatsapp_business_messaging and set " \
              "it as access_token."
#define RIGHTS "The access token may not do this. Give its system user whatsapp_business_messaging and the account."
#define LOCKED "Meta has locked or restricted this account. Look at business.facebook.com, Account quality."
#define WRONG "Meta does not accept the request's values. Look at the message's text, address and file."
#define TEMPLATE "The template does not fit: check its name, language, state and number of values in the WhatsApp " \
                 "manager."
#define PAUSED "Meta has paused or disabled this template. Edit it in the WhatsApp manager, or use another."

/* In order of the numbers; the last row is for all others. */
const struct outcome_code whatsapp_errors[] = {
    { 3, 3, SEND_REFUSED, OUTCOME_FAULT, 0, RIGHTS },
    { 4, 4, SEND_RETRY, OUTCOME_THROTTLED, 60, SLOWLY },
    { 10, 10, SEND_REFUSED, OUTCOME_FAULT, 0, RIGHTS },
    { 33, 33, SEND_REFUSED, OUTCOME_FAULT, 0, "Meta does not know this phone_number_id, or the token may not see it." },
    { 100, 100, SEND_REFUSED, 0, 0, WRONG },
    { 190, 190, SEND_REFUSED, OUTCOME_FAULT, 0, TOKEN },
    { 200, 299, SEND_REFUSED, OUTCOME_FAULT, 0, RIGHTS },
    { 368, 368, SEND_REFUSED, OUTCOME_FAULT, 0, LOCKED },
    { 80007, 80007, SEND_RETRY, OUTCOME_THROTTLED, 60, SLOWLY },
    { 130429, 130429, SEND_RETRY, OUTCOME_THROTTLED, 0, SLOWLY },
    { 130472, 130472, SEND_REFUSED, 0, 0, "Meta leaves this contact out of marketing for an experiment of its own." },
    { 130497, 130497, SEND_REFUSED, OUTCOME_FAULT, 0, "This account may not send to the contact's country." },
    { 131000, 131000, SEND_RETRY, 0, 0, TROUBLE },
    { 131005, 131005, SEND_REFUSED, OUTCOME_FAULT, 0, RIGHTS },
    { 131008, 131009, SEND_REFUSED, 0, 0, WRONG },
    { 131016, 131016, SEND_RETRY, OUTCOME_FAULT, 0, TROUBLE },
    { 131021, 131021, SEND_REFUSED, 0, 0, "The number cannot write to itself." },
    { 131026, 131026, SEND_REFUSED, 0, 0,
      "It cannot be delivered: the contact is not on WhatsApp, has an old version, or did not accept its terms." },
    { 131030, 131030, SEND_REFUSED, 0, 0,
      "A test number may write only to its allow-list. Add the contact in the app's WhatsApp setup." },
    { 131031, 131031, SEND_REFUSED, OUTCOME_FAULT, 0, LOCKED },
    { 131042, 131042, SEND_REFUSED, OUTCOME_FAULT, 0,
      "Payment is missing. Set a payment method in the WhatsApp manager." },
    { 131045, 131045, SEND_REFUSED, OUTCOME_FAULT, 0,
      "The number is not registered for the Cloud API. Register it with its PIN." },
    { 131047, 131047, SEND_REFUSED, 0, 0,
      "More than 24 hours have passed since the contact wrote: only an approved template may be sent now (metadata "
      "`template`), or wait until they write." },
    { 131048, 131048, SEND_RETRY, OUTCOME_THROTTLED, 3600,
      "Too many of this number's messages were reported as spam. Send less, and look at its quality." },
    { 131049, 131049, SEND_REFUSED, 0, 0,
      "Meta holds marketing to this contact back for now. Wait at least 24 hours before another try." },
    { 131050, 131050, SEND_REFUSED, OUTCOME_OPTED_OUT, 0, "The contact has stopped marketing from this business." },
    { 131051, 131051, SEND_REFUSED, 0, 0, "WhatsApp does not know this kind of message." },
    { 131052, 131052, SEND_REFUSED, 0, 0, "The file could not be read by WhatsApp." },
    { 131053, 131053, SEND_RETRY, 0, 0, "WhatsApp could not take the file in. It is tried again by itself." },
    { 131056, 131056, SEND_RETRY, OUTCOME_THROTTLED, 16, "Too many messages to this one contact. It is tried again." },
    { 131057, 131057, SEND_RETRY, OUTCOME_FAULT, 60, TROUBLE },
    { 131062, 131062, SEND_REFUSED, 0, 0, "This template cannot go to somebody without a phone number." },
    { 131064, 131064, SEND_RETRY, OUTCOME_THROTTLED, 60, SLOWLY },
    { 132000, 132014, SEND_REFUSED, 0, 0, TEMPLATE },
    { 132015, 132016, SEND_REFUSED, 0, 0, PAUSED },
    { 133004, 133004, SEND_RETRY, OUTCOME_FAULT, 60, TROUBLE },
    { 133010, 133010, SEND_REFUSED, OUTCOME_FAULT, 0, "The number is not registered for the Cloud API." },
    { 133016, 133016, SEND_RETRY, OUTCOME_THROTTLED, 3600, SLOWLY },
    { 0, 0, SEND_REFUSED, 0, 0,
      "WhatsApp refused it; the number is explained at developers.facebook.com/docs/whatsapp/cloud-api/support." },
};
