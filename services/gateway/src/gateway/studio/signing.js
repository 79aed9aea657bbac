/** Signing in, where a stack is not one's own. */

import { useEffect, useState } from "preact/hooks";
import { offersSignIn, signIn, signUp, usePasted } from "/studio/api.js";
import { complain, told } from "/studio/state.js";
import { html, Part, useTurn } from "/studio/view.js";

/** `enter()` is called when somebody is signed in. */
export function SignIn({ enter }) {
  const [arePeople, setPeople] = useState(false);
  useEffect(() => {
    offersSignIn().then(setPeople, () => setPeople(false));
  }, []);
  const [isBusy, begin] = useTurn((act) => {
    complain(null);
    return told(act);
  });
  /** Runs what a form means, and says what was wrong with it. */
  const doing = (act) => (event) => {
    event.preventDefault();
    const { currentTarget, submitter } = event;
    begin(() => act(currentTarget.elements, submitter?.value));
  };
  const people = doing(async ({ email, password }, wish) => {
    const isIn = wish === "sign-up" ? await signUp(email.value, password.value) : !(await signIn(email.value, password.value));
    password.value = "";
    if (isIn) enter();
    else complain(new Error("You have an account now. Confirm your e-mail address, then sign in"));
  });
  const pasted = doing(({ token }) => {
    usePasted(token.value.trim());
    token.value = "";
    enter();
  });
  return html`
    <div id="sign-in" class="narrow">
      <${Part} id="sign-in-title" title="Sign in">
        ${arePeople && html`
          <form id="people" onSubmit=${people}>
            <label for="email">E-mail</label>
            <input id="email" name="email" type="email" autocomplete="username" required />
            <label for="password">Password</label>
            <input id="password" name="password" type="password" autocomplete="current-password" required />
            <div class="row">
              <button value="sign-in" aria-disabled=${isBusy}>Sign in</button>
              <button value="sign-up" class="quiet" aria-disabled=${isBusy}>Create an account</button>
            </div>
          </form>
        `}
        <form id="pasted" onSubmit=${pasted}>
          <label for="token">Access token or API key</label>
          <input id="token" name="token" type="password" autocomplete="off" required aria-describedby="token-hint" />
          <p id="token-hint" class="hint">It stays in this tab, and is forgotten when you close it.</p>
          <button aria-disabled=${isBusy}>Use it</button>
        </form>
      <//>
    </div>
  `;
}
