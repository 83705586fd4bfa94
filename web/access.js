// Who the page is, for a server that wants to know: a visitor with a token that the server makes, or an
// operator who has signed in. It uses no DOM.

/** How long the page uses a token before it asks for a newer one, in ms. */
const ASK_EVERY_MS = 24 * 3_600_000;

/** A token as it may stand in a header. Any page of this origin may have written what is remembered. */
const isToken = (text) => /^[\w.-]{1,8192}$/.test(text);

const failure = (code, message, data) => Object.assign(new Error(message), { code, data });

export class Access {
  /** True if an operator has signed in. Then a cookie, which scripts cannot read, proves it. */
  operator = false;
  #remember;
  #fetch;
  #token = ''; // used if nothing can be remembered
  #made; // the token that this page got last
  #asked = { token: '', at: 0 }; // when the server last said that a token is good

  /** remember is {get(key), set(key, value)}. fetch is the global one if absent. */
  constructor(remember, fetch = (...args) => globalThis.fetch(...args)) {
    this.#remember = remember;
    this.#fetch = fetch;
  }

  /** Finds out whether an operator has signed in. Call it first. */
  async begin() {
    const signedIn = this.#remember.get('operator') !== '';
    if (!signedIn && this.#known()) return; // a visitor who comes again: ask nothing
    try {
      const { role } = await this.#ask('GET', 'me');
      this.#signed(role === 'operator' || role === 'admin');
    } catch (error) {
      this.#signed(signedIn && error.code === 'transport');
    }
  }

  /** Returns what proves the identity, for CONNECT. A visitor gets a token if it has none. Throws what #ask throws. */
  async auth() {
    return this.operator ? {} : { token: await this.token() };
  }

  /** Returns the visitor's token: a new one if there is none, or if much of the old one's time is over. It asks the server if it last did so `every` ms ago. */
  async token(every = ASK_EVERY_MS) {
    const known = this.#known();
    if (known && known === this.#asked.token && Date.now() - this.#asked.at < every) return known;
    let answer;
    try {
      answer = await this.#ask('POST', 'visitors', { token: known });
    } catch (error) {
      if (!known || error.code === 'banned') throw error;
      if (error.code !== 'bad_token' && error.code !== 'token_expired') return known; // CONNECT will say whether it is good
      this.#keep('');
      answer = await this.#ask('POST', 'visitors');
    }
    const other = this.#known();
    // Another tab may have been faster. All tabs are one visitor.
    const token = other !== known && other ? other : answer.token ?? known;
    if (token !== known && token === answer.token) this.#made = token;
    this.#keep(token);
    this.#asked = { token, at: Date.now() };
    return token;
  }

  /** Forgets a token that the server refuses. Returns false if it was a new one: then another one would not help. */
  drop() {
    const token = this.#known();
    this.#asked.token = '';
    if (token !== '' && token === this.#made) return false;
    this.#keep('');
    return true;
  }

  /** Signs an operator in. Throws what #ask throws. */
  async signIn(login, password) {
    await this.#ask('POST', 'session', { body: { login, password } });
    this.#signed(true);
  }

  async signOut() {
    await this.#ask('DELETE', 'session');
    this.#signed(false);
  }

  /** Says that the server has ended the operator's session. */
  end() {
    this.#signed(false);
  }

  #signed(is) {
    this.operator = is;
    this.#remember.set('operator', is ? 'yes' : '');
  }

  #known() {
    const token = this.#remember.get('token') || this.#token;
    return isToken(token) ? token : '';
  }

  #keep(token) {
    this.#token = token;
    this.#remember.set('token', token);
  }

  /** Returns the answer of an endpoint. Throws an error with the server's code, as a ParleyError has it; transport: there was no answer. */
  async #ask(method, path, { token, body } = {}) {
    let response, answer;
    try {
      response = await this.#fetch(`api/${path}`, {
        method, cache: 'no-store',
        headers: { ...(token && { Authorization: `Bearer ${token}` }), ...(body && { 'Content-Type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      });
      const text = await response.text();
      answer = text ? JSON.parse(text) : {};
    } catch (error) {
      throw failure('transport', response ? `the server answered ${response.status}` : error.message);
    }
    if (response.ok) return answer;
    throw failure(answer.code ?? 'transport', answer.detail ?? `the server answered ${response.status}`, { retryAfter: answer.retryAfter });
  }
}
