/*
 * The session protocol of ../FORMAT.md between two clients and an enclave whose
 * parent is the network, for spin's exhaustive search. README.md says what is
 * modelled and what is not; ./check runs it.
 *
 * There is no process for the parent: whatever it can make of what it has seen
 * is among the choices of whoever receives, at any time and any number of
 * times. Keys, nonces and sealed messages are numbers that nobody guesses.
 *
 * Options, as ./check has them: TWO_ENCLAVES, in place of rotation; ATTEMPTS, 2
 * or 3; HONEST, where the parent delivers everything, once, and nothing else, and
 * both clients must get their answers; REACH_BOTH and REACH_RETRY, which fail
 * when that can happen at all; and flaws, each of which breaks something: those
 * whose names begin with NO_, PER_KEY_REPLAY_SET, FORGET_WITH_KEY and
 * RETRY_ELSEWHERE.
 */

#define CLIENTS 2
#define SEGMENTS 2          /* of each answer; the second is the last */
#ifndef ATTEMPTS
#define ATTEMPTS 2          /* at one question; the code has 3 */
#endif

/*
 * Attempt a of client c has the number c * ATTEMPTS + a. That is also the
 * number of its nonce and of what it seals: a fresh encapsulation, with the
 * secret from which the answer's key comes. One more is what the parent seals
 * itself.
 */
#define TRIES (CLIENTS * ATTEMPTS)
#define PARENT TRIES
#define attempt(c, a) ((c) * ATTEMPTS + (a))
/* Whose a sealed message is: a client's number, or CLIENTS for the parent's.
 * It is the request's id as well, which stays the same in all attempts. */
#define owner(s) ((s) / ATTEMPTS)

/* Key configurations, and the enclaves that have them. */
#define OLD 0               /* of enclave 0, until it is replaced */
#define NEW 1               /* of enclave 0 */
#define OTHER 2             /* of enclave 1, which meets the policy, too */
#define FORGED 3            /* the parent's own */
#define KEYS 4
#define NONE 255
#define module(k) ((k) == OTHER -> 1 : 0)
#define bit(n) (1 << (n))
#define has(set, n) ((set) & bit(n))

/* The enclaves. */
byte current = bit(OLD);    /* keys that are given out, one of each enclave */
byte live = bit(OLD);       /* keys that open requests */
byte opened[KEYS];          /* ids of the requests that were opened, by memory(key) */

/* What the parent has seen: it keeps all, and loses nothing by having more. So
 * it asks for a document over each nonce that there is, under each key as soon
 * as that is given out, and has requests of its own answered under each key. */
byte attested[CLIENTS];     /* documents over the nonce that a client waits with: for which keys */
byte sealed[TRIES];         /* requests of clients: for which key, or NONE */
byte answered;              /* requests of clients that were answered */
byte known_keys = bit(OLD); /* keys that were ever given out */
#ifdef HONEST
byte refused;               /* requests whose key the enclave did not have */
#endif

/* What no one sees: how often a client's question was opened, and how its ask
 * ended. */
byte times_opened[CLIENTS];
#define ANSWER 1
#define FAILURE 2           /* an error, or the deadline passed */
byte ended[CLIENTS];

/* What must not happen. */
bool unattested, opened_twice, wrong_answer, wrong_order, cut_off, unopened, not_answered;

/* Rotation gives out another key, and later drops the first. */
proctype Rotation() {
	byte n;
	atomic {
		live = live | bit(NEW);
		known_keys = known_keys | bit(NEW);
		current = current & ~bit(OLD) | bit(NEW);
		for (n : 0 .. CLIENTS - 1) {
			if
			:: attested[n] != 0 -> attested[n] = attested[n] | bit(NEW)
			:: else
			fi
		};
		n = 0
	};
	atomic {
		live = live & ~bit(OLD);
#ifdef FORGET_WITH_KEY
		opened[OLD] = 0
#endif
	}
}

/* memory is where an enclave keeps what it opened with a key: an entry for the
 * enclave, or in some of the flawed ones for each key. */
#if defined(PER_KEY_REPLAY_SET)
#define memory(k) (k)
#elif defined(FORGET_WITH_KEY)
#define memory(k) (k)
#define known(k, id) (module(k) == 1 && has(opened[OTHER], id) || module(k) == 0 && has(opened[OLD] | opened[NEW], id))
#else
#define memory(k) module(k)
#endif

/* known is whether the enclave that has a key knows an id as opened. */
#if defined(NO_REPLAY_SET)
#define known(k, id) false
#elif !defined(known)
#define known(k, id) has(opened[memory(k)], id)
#endif

/* can is whether enclave e, when a message comes that is sealed to k and says
 * that its id is id, goes on to decrypt it. Where it does not, nothing changes,
 * so that a message that comes again, or to another enclave, is not a step. */
#define can(e, k, id) ((k) != NONE && (k) != FORGED && module(k) == e && has(live, k) && !known(k, id))

/* admit takes note of a request that was opened, and answers it. */
inline admit(s, id) {
	opened[memory(sealed[s])] = opened[memory(sealed[s])] | bit(id);
	times_opened[owner(s)]++;
	opened_twice = times_opened[owner(s)] > 1;
	assert(!opened_twice);
	answered = answered | bit(s)
}

/* The id that a message says it has. Where the header is not authenticated, the
 * parent writes what it likes. */
#ifdef NO_AAD
#define choose_id(id, s) select(id : 0 .. CLIENTS)
#else
#define choose_id(id, s) id = owner(s)
#endif

/* What the parent delivers: n to be decrypted while other things happen, which
 * is all that can become of several at a time; or n at once meanwhile. */
#define DELIVER(n) \
	:: atomic { s == NONE && can(e, sealed[n], owner(n)) -> s = n; choose_id(id, s) } \
	:: atomic { s != NONE && can(e, sealed[n], owner(n)) -> admit(n, owner(n)) }

/* What the parent seals itself, under the id of a client's, which is then
 * refused. */
#ifdef HONEST
#define SQUAT(k, n)
#else
#define SQUAT(k, n) \
	:: atomic { can(e, k, n) -> opened[memory(k)] = opened[memory(k)] | bit(n) }
#endif

/* In clear, but true: the key is unknown. */
#ifdef HONEST
#define REFUSE(n) \
	:: atomic { sealed[n] != NONE && !has(live, sealed[n]) && !has(refused | answered, n) -> refused = refused | bit(n) }
#else
#define REFUSE(n)
#endif

/* Opener opens requests of enclave e. */
proctype Opener(byte e) {
	byte s = NONE;          /* what is being decrypted */
	byte id;
end:	do
	DELIVER(0) DELIVER(1) DELIVER(2) DELIVER(3)
	REFUSE(0) REFUSE(1) REFUSE(2) REFUSE(3)
#if ATTEMPTS == 3
	DELIVER(4) DELIVER(5)
	REFUSE(4) REFUSE(5)
#endif
	SQUAT(OLD, 0) SQUAT(OLD, 1) SQUAT(NEW, 0) SQUAT(NEW, 1) SQUAT(OTHER, 0) SQUAT(OTHER, 1)
	:: atomic {
		s != NONE ->
		if
#ifndef NO_RECHECK
		:: !can(e, sealed[s], id)
#endif
		:: else -> admit(s, id)
		fi;
		s = NONE; id = 0
	   }
	od
}

/* offered is whether the parent can have a client that waits for a document
 * over its nonce believe in the configuration of k. */
#if defined(NO_NONCE)
#define offered(c, k) has(known_keys, k)        /* of some document or other */
#elif defined(NO_BINDING)
#define offered(c, k) (attested[c] != 0)        /* beside some document */
#else
#define offered(c, k) has(attested[c], k)
#endif

/* BELIEVE has a client establish a session under k. */
#define BELIEVE(k) \
	:: atomic { \
		offered(c, k) -> \
		unattested = !has(attested[c], k); \
		assert(!unattested); \
		key = k; attested[c] = 0 \
	   }

/* exists is whether the parent has segments of an answer to request t: an
 * enclave's, or its own where the client sealed for its key. */
#define exists(t) (has(answered, t) || sealed[t] == FORGED)

/* told is whether the parent can say that a request's key is unknown. */
#ifdef HONEST
#define told(s) has(refused, s)
#else
#define told(s) true
#endif

#if !defined(HONEST) && !defined(NO_DEADLINE)
#define GIVES_UP
#endif

proctype Client(byte c) {
	byte a, s, key, number;
	byte first = NONE;      /* module of the first enclave */
	byte t, j;              /* a segment: of the answer to t, number j */

establish:
	/* A nonce that is new, and with it a question for a document. */
	atomic {
		s = attempt(c, a);
		attested[c] = current
	};
	if
	BELIEVE(OLD) BELIEVE(NEW) BELIEVE(OTHER) BELIEVE(FORGED)
#ifdef GIVES_UP
	:: goto failed          /* the client refuses it, or none comes in time */
#endif
	fi;
	atomic {
		if
		:: first == NONE -> first = module(key)
#ifndef RETRY_ELSEWHERE
		:: first != NONE && first != module(key) -> goto failed
#endif
		:: else
		fi;
		sealed[s] = key
	};

	do
	:: atomic {
		/* A segment that opens. */
#ifdef NO_RESPONSE_BINDING
		true -> select(t : 0 .. PARENT);
		if              /* the parent has asked under this key, too */
		:: t < PARENT && (!exists(t) || sealed[t] != key) -> t = PARENT
		:: else
		fi;
#else
		exists(s) -> t = s;
#endif
#ifdef NO_NUMBERS
		select(j : 0 .. SEGMENTS - 1);
#else
		j = number;
#endif
		wrong_answer = owner(t) != c || sealed[s] == FORGED;
		assert(!wrong_answer);
		wrong_order = j != number;
		assert(!wrong_order);
		number++; t = 0;
		if
		:: j == SEGMENTS - 1 -> j = 0; break
		:: else -> j = 0
		fi
	   }
#ifdef NO_LAST
	:: number > 0 -> break  /* the end of the stream for the end of the answer */
#endif
	:: atomic {
		number == 0 && a + 1 < ATTEMPTS && told(s) -> a++; key = 0; goto establish /* "key unknown" */
	   }
#ifdef GIVES_UP
	:: goto failed          /* other words, a segment that does not open, the
	                           end, or nothing in time */
#endif
	od;
	atomic {
		cut_off = number != SEGMENTS;
		assert(!cut_off);
		unopened = times_opened[c] != 1;
		assert(!unopened);
		ended[c] = ANSWER;
#ifdef REACH_RETRY
		not_answered = a > 0;
		assert(!not_answered);
#endif
#ifdef REACH_BOTH
		not_answered = ended[0] == ANSWER && ended[1] == ANSWER;
		assert(!not_answered);
#endif
		goto over
	};
failed:	atomic {
		attested[c] = 0;
		ended[c] = FAILURE;
#ifdef HONEST
		not_answered = true;
		assert(!not_answered);
#endif
	};
over:	atomic { a = 0; s = 0; key = 0; number = 0; first = 0 }
}

init {
	atomic {
		byte i;
		for (i : 0 .. TRIES - 1) { sealed[i] = NONE };
		i = 0;
#ifdef TWO_ENCLAVES
		current = current | bit(OTHER);
		live = live | bit(OTHER);
		known_keys = known_keys | bit(OTHER);
		run Opener(1);
#endif
		run Opener(0);
#ifndef TWO_ENCLAVES
		run Rotation();
#endif
		run Client(0);
		run Client(1)
	}
}
