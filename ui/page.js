// Runs once for each interactive gr.HTML: clicks on [data-act] become the event 'act', and what is open stays open.
const opened = new Set();

const clock = new Intl.DateTimeFormat(undefined, { month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit' });
const restore = () => {
  opened.forEach((id) => {
    const found = document.getElementById(id);
    if (found && element.contains(found)) found.open = true;
  });
  element.querySelectorAll('time').forEach((time) => {
    time.textContent = clock.format(new Date(time.dateTime));
  });
};
watch('value', restore); // Gradio rewrites attributes when the value changes, and so closes every <details>

const themed = (dark) => {
  document.body.classList.toggle('dark', dark);
  localStorage.setItem('theme', dark ? 'dark' : 'light');
};

const cite = (id) => {
  const source = document.getElementById(id);
  if (!source) return;
  source.open = true;
  opened.add(id);
  source.scrollIntoView({ block: 'nearest', behavior: 'smooth' });
};

const confirmed = (button) => {
  if (!button.dataset.confirm || button.dataset.armed) return true;
  const label = button.textContent;
  button.dataset.armed = 'yes';
  button.textContent = button.dataset.confirm;
  setTimeout(() => { delete button.dataset.armed; button.textContent = label; }, 4000);
  return false;
};

const act = (button) => {
  const sheet = button.closest('.sheet');
  const field = sheet && sheet.querySelector('textarea, input');
  if (!confirmed(button)) return;
  if (sheet) {
    const details = sheet.closest('details');
    details.open = false;
    opened.delete(details.id);
  }
  trigger('act', { act: button.dataset.act, id: button.dataset.id, text: field ? field.value : button.dataset.text });
  if (field && field.tagName === 'TEXTAREA') field.value = '';
};

element.addEventListener('click', (event) => {
  const button = event.target.closest('button');
  const summary = event.target.closest('summary');
  if (summary) {
    const details = summary.parentElement; // not toggled yet
    if (details.open) opened.delete(details.id);
    else opened.add(details.id);
  }
  if (!button) return;
  if (button.dataset.cite) cite(button.dataset.cite);
  if (button.dataset.local === 'theme') themed(!document.body.classList.contains('dark'));
  if (button.dataset.act) act(button);
});
element.addEventListener('keydown', (event) => {
  if (event.key !== 'Enter' || event.target.tagName !== 'INPUT') return;
  const button = event.target.parentElement.querySelector('[data-act]');
  if (button) act(button);
});

const theme = localStorage.getItem('theme');
if (theme) document.body.classList.toggle('dark', theme === 'dark');
restore();
