#include "core/seed_text.h"

#include "base/arena.h"

#include <string.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])
#define TEXT_BYTES 600

static const char *const first_names[] = {
    "Ada",    "Alan",  "Amara", "Anna",  "Aylin",      "Ben",   "Carlos", "Chen",   "Chloe",
    "David",  "Diego", "Elena", "Emma",  "Fatima",     "Felix", "Grace",  "Hana",   "Hugo",
    "Ines",   "Ivan",  "Jamal", "Jonas", "Julia",      "Kenji", "Lara",   "Leon",   "Lina",
    "Luca",   "Maria", "Mateo", "Mia",   "Mohamed",    "Nadia", "Noah",   "Olga",   "Omar",
    "Paula",  "Priya", "Rosa",  "Samir", "Sofia",      "Sven",  "Tariq",  "Thomas", "Uma",
    "Viktor", "Wei",   "Yara",  "Yuki",  "Zo\xc3\xab",
};

static const char *const last_names[] = {
    "Abe",    "Ahmed",   "Bauer",         "Bianchi",  "Brown",    "Chen",   "Costa",  "Diaz",
    "Dubois", "Evans",   "Fischer",       "Garcia",   "Gupta",    "Haddad", "Hansen", "Ivanov",
    "Jansen", "Johnson", "Kaya",          "Kim",      "Kowalski", "Lange",  "Lee",    "Lopez",
    "Martin", "Meyer",   "M\xc3\xbcller", "Nguyen",   "Novak",    "Okafor", "Patel",  "Petrov",
    "Rossi",  "Santos",  "Sato",          "Schmidt",  "Silva",    "Singh",  "Smith",  "Tanaka",
    "Taylor", "Wagner",  "Wang",          "Williams", "Yilmaz",   "Young",  "Zhang",
};

/* Roughly by how often they are used. */
static const char *const words[] = {
    "the", "I", "to", "you", "a", "is", "it", "and", "for", "in", "on", "we", "can", "be", "that",
    "of", "my", "at", "have", "ok", "with", "not", "this", "do", "will", "me", "so", "thanks",
    "are", "your", "was", "just", "yes", "no", "tomorrow", "today", "please", "what", "when",
    "time", "see", "good", "know", "let", "if", "but", "like", "how", "order", "get", "there",
    "here", "up", "now", "back", "call", "about", "from", "send", "one", "week", "day", "sure",
    "need", "could", "would", "morning", "great", "meeting", "hello", "hi", "later",
    "appointment", "price", "still", "ready", "number", "sorry", "delivery", "address", "phone",
    "home", "work", "coffee", "again", "question", "friday", "monday", "evening", "much",
    "package", "arrived", "photo", "help", "store", "open", "closed", "table", "people", "room",
    "key", "ticket", "train", "late", "minutes", "hours", "dinner", "lunch", "car", "doctor",
    "school", "kids", "weekend", "birthday", "payment", "invoice", "refund", "account",
    "password", "link", "email", "website", "broken", "repair", "available", "size", "blue",
    "black", "green", "large", "small", "cheap", "quote", "contract", "sign", "street", "corner",
    "rain", "sunny", "holiday", "danke", "bitte", "gracias", "hola", "merci", "bonjour", "ciao",
    "s\xc3\xad", "gr\xc3\xbc\xc3\x9f" "e", "ma\xc3\xb1" "ana", "caf\xc3\xa9",
    "\xd1\x81\xd0\xbf\xd0\xb0\xd1\x81\xd0\xb8\xd0\xb1\xd0\xbe", "\xe8\xb0\xa2\xe8\xb0\xa2",
    "\xe3\x81\x82\xe3\x82\x8a\xe3\x81\x8c\xe3\x81\xa8\xe3\x81\x86", "\xf0\x9f\x91\x8d",
    "\xf0\x9f\x98\x80", "\xe2\x9d\xa4\xef\xb8\x8f", "\xf0\x9f\x99\x8f",
};

static const struct seed_country countries[] = {
    { "+1", "America/New_York", -300, 10 }, { "+44", "Europe/London", 0, 10 },
    { "+49", "Europe/Berlin", 60, 11 }, { "+34", "Europe/Madrid", 60, 9 },
    { "+1", "America/Los_Angeles", -480, 10 }, { "+91", "Asia/Kolkata", 330, 10 },
    { "+81", "Asia/Tokyo", 540, 10 }, { "+55", "America/Sao_Paulo", -180, 11 },
    { "+7", "Europe/Moscow", 180, 10 }, { "+61", "Australia/Sydney", 600, 9 },
};

uint64_t seed_next(struct seed_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint32_t seed_below(struct seed_random *random, uint32_t bound)
{
    return (uint32_t)((seed_next(random) >> 32) * bound >> 32);
}

/* 2^x - 1 for x in [0, log2(count + 1)): a density of 1 / rank, by halving intervals. */
uint32_t seed_zipf(struct seed_random *random, uint32_t count)
{
    uint32_t bits = 0, low, width;

    while (bits < 31 && (UINT32_C(1) << bits) <= count)
        bits++;
    low = UINT32_C(1) << seed_below(random, bits);
    width = low < count + 1 - low ? low : count + 1 - low;
    return low - 1 + seed_below(random, width);
}

const struct seed_country *seed_country_of(uint32_t person)
{
    return &countries[person % COUNT(countries)];
}

const char *seed_name(struct arena *arena, struct seed_random *random)
{
    const char *first = first_names[seed_below(random, COUNT(first_names))];

    return arena_printf(arena, "%s %s", first, last_names[seed_below(random, COUNT(last_names))]);
}

/* The digits count persons up, mixed so that neighbours do not look alike, and never start with 0.
 */
const char *seed_phone(struct arena *arena, uint64_t set, uint32_t person)
{
    const struct seed_country *country = seed_country_of(person);
    uint64_t room = 1, number;

    for (int i = 1; i < country->digits; i++)
        room *= 10;
    number = (person * UINT64_C(7368787) + set * UINT64_C(1000003)) % room;
    return arena_printf(arena, "%s2%0*llu", country->prefix, country->digits - 1,
                        (unsigned long long)number);
}

const char *seed_user(struct arena *arena, uint64_t set, uint32_t person)
{
    return arena_printf(arena, "user%llu.%u", (unsigned long long)set, person);
}

struct str seed_text(struct arena *arena, struct seed_random *random)
{
    /* short ones are the rule */
    uint32_t count =
        2 + seed_below(random, 8) + (seed_below(random, 5) == 0 ? seed_below(random, 30) : 0);
    char *out = arena_alloc(arena, TEXT_BYTES);
    size_t len = 0;

    for (uint32_t i = 0; i < count; i++) {
        const char *word = words[seed_zipf(random, COUNT(words))];
        size_t size = strlen(word);

        if (len + size + 3 > TEXT_BYTES)
            break;
        if (i > 0)
            out[len++] = ' ';
        memcpy(out + len, word, size);
        if (i == 0 && word[0] >= 'a' && word[0] <= 'z')
            out[len] = (char)(word[0] - 'a' + 'A');
        len += size;
    }
    out[len++] = "..?!"[seed_below(random, 4)];
    return (struct str){ out, len };
}
