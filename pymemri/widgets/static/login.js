// A form to log in. What is typed leaves in one message, and the fields are empty before it does.
export default view(async ({el, ask, on, signal}) => {
  const said = h('p', {class: 'pm-login-said', role: 'status', dir: 'auto'});
  const link = h('p', {class: 'pm-login-link', hidden: true});
  const picture = h('img', {class: 'pm-login-picture', alt: 'QR code to scan with your phone', hidden: true});
  const fields = h('div', {class: 'pm-login-fields'}), send = h('button', {type: 'submit', class: 'pm-login-send'}, 'Send');
  const form = h('form', {class: 'pm-login', autocomplete: 'off', 'aria-label': 'Log in', novalidate: true},
    said, link, picture, fields, send);
  el.append(form);
  let shown = {}, address = null;

  function draw(now, [bytes]) {
    const anew = now.number !== shown.number;
    shown = now;
    said.textContent = now.said;
    said.classList.toggle('pm-login-failed', now.failed);
    if (!anew) return;
    const inside = form.contains(document.activeElement);
    link.replaceChildren(...now.url ? [h('a', {href: now.url, target: '_blank', rel: 'noopener noreferrer'},
      'Open the page to log in'), ` (${now.host})`] : now.text ? [h('span', {dir: 'ltr'}, now.text)] : []);
    link.hidden = !link.hasChildNodes();
    if (address) URL.revokeObjectURL(address);
    address = now.scan ? URL.createObjectURL(new Blob([bytes], {type: 'image/svg+xml'})) : null;
    if (address) picture.src = address; else picture.removeAttribute('src');
    picture.hidden = !address;
    fields.replaceChildren(...now.fields.map(([name, label, secret]) => h('label', {}, h('span', {}, label),
      h('input', {name, type: secret ? 'password' : 'text', autocomplete: 'off', spellcheck: 'false',
        autocapitalize: 'off', required: true}))));
    send.hidden = !now.fields.length;
    if (inside) fields.querySelector('input')?.focus();
  }

  form.addEventListener('submit', async e => {
    e.preventDefault();
    if (send.disabled) return;
    const inputs = [...fields.querySelectorAll('input')], values = {};
    for (const input of inputs) values[input.name] = input.value;
    if (!inputs.every(i => i.value)) { // Python says so; what is there stays
      await ask('submit', {number: shown.number, values: {}});
      inputs.find(i => !i.value)?.focus();
      return;
    }
    for (const input of inputs) if (input.type === 'password') input.value = '';
    send.disabled = true;
    const sent = ask('submit', {number: shown.number, values});
    for (const name in values) values[name] = '';
    await sent;
    send.disabled = false;
  }, {signal});

  on('look', draw);
  on('dispose', () => {
    for (const input of fields.querySelectorAll('input')) input.value = '';
    if (address) URL.revokeObjectURL(address);
  });
  const first = await ask('look');
  if (first && first.result.number >= (shown.number ?? 0)) draw(first.result, first.buffers);
}, {label: 'Log in'});
