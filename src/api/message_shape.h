/* message_shape.h - how messages look in answers beside their columns: two members, one for each direction. */
#pragma once

#include "base/field.h"
#include "base/limits.h"

#define MESSAGE_SHAPE \
    { "from", FIELD_TEXT, 0, "Inbound: who wrote it.", 0, LIMIT_ADDRESS_BYTES }, \
    { "to", FIELD_TEXT, 0, "Outbound: whom it is for.", 0, LIMIT_ADDRESS_BYTES }
