// The admin listener's token: asked for where one is needed, and kept in this tab alone.

const KEY = "roomd-admin-token";

const form = document.getElementById("token");
const field = document.getElementById("token-field");
const words = document.getElementById("token-words");

// The headers that show it, if there is one.
export function headers() {
  const token = sessionStorage.getItem(KEY);
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

// Asks for it, with what the listener said; done when one was typed.
export function ask(said) {
  const wrong = sessionStorage.getItem(KEY) !== null;
  sessionStorage.removeItem(KEY);
  words.textContent = wrong ? "That token was not accepted." : said;
  form.hidden = false;
  field.value = "";
  field.focus();
  return new Promise((done) => {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // A header holds only such.
      sessionStorage.setItem(KEY, field.value.replace(/[^\x21-\x7e]/g, ""));
      field.value = "";
      form.hidden = true;
      done();
    }, { once: true });
  });
}
