"use strict";
(() => {
  const chart = document.getElementById("steps");
  if (!chart) return;
  const steps = [...chart.querySelectorAll(".step")];
  const places = steps.map((step) => [step, step.parentElement]);

  // the tip: a copy of what a step's row holds, so that no text becomes markup
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.setAttribute("aria-hidden", "true"); // Enter opens the same in the row, for everybody
  tip.hidden = true;
  document.body.append(tip);
  let lit = null;

  const hide = () => {
    tip.hidden = true;
    if (lit) lit.classList.remove("lit");
    lit = null;
  };
  const show = (step, x, y) => {
    const summary = step.firstElementChild;
    if (lit !== summary) {
      hide();
      const title = document.createElement("h3");
      title.textContent = [...summary.querySelectorAll(".name")].map((part) => part.textContent).join("").replace(/^[◆✗·]+/u, "$& ");
      tip.replaceChildren(title, step.querySelector(".more").cloneNode(true));
      tip.querySelectorAll("[tabindex]").forEach((part) => part.removeAttribute("tabindex"));
      lit = summary;
      lit.classList.add("lit");
      tip.hidden = false;
      tip.querySelectorAll("pre").forEach((part) => (part.scrollTop = part.scrollHeight)); // a log tells most at its end
    }
    const box = tip.getBoundingClientRect();
    const below = y + 18 + box.height <= innerHeight;
    tip.style.left = `${Math.max(6, Math.min(x + 12, innerWidth - box.width - 6))}px`;
    tip.style.top = `${Math.max(6, below ? y + 18 : y - box.height - 14)}px`;
  };
  const meant = (target) => {
    if (!target.closest) return null;
    const bar = target.closest("[data-for]");
    if (bar) return document.getElementById(bar.dataset.for);
    const summary = target.closest(".step > summary");
    return summary && !summary.parentElement.open ? summary.parentElement : null;
  };
  document.addEventListener("mousemove", (event) => {
    const step = meant(event.target);
    if (step) show(step, event.clientX, event.clientY);
    else hide();
  });
  document.addEventListener("scroll", hide, { passive: true });
  chart.addEventListener("focusin", (event) => {
    const step = meant(event.target);
    if (!step || !event.target.matches(":focus-visible")) return;
    const box = event.target.querySelector(".track").getBoundingClientRect();
    show(step, box.left, box.bottom - 8);
  });
  chart.addEventListener("focusout", hide);
  chart.addEventListener("toggle", hide, true);
  document.addEventListener("click", (event) => {
    const bar = event.target.closest && event.target.closest("[data-for]");
    if (!bar) return;
    const step = document.getElementById(bar.dataset.for);
    step.hidden = false;
    step.open = true;
    step.scrollIntoView({ block: "center" });
    step.firstElementChild.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by || !document.activeElement.matches(".step > summary")) return;
    const seen = [...chart.querySelectorAll(".step:not([hidden]) > summary")];
    const next = seen[seen.indexOf(document.activeElement) + by];
    if (next) next.focus();
    event.preventDefault();
  });

  // order and choice
  const form = document.querySelector(".controls");
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  const arrange = () => {
    const flat = form.order.selectedIndex === 1;
    chart.classList.toggle("by-start", flat);
    if (flat) {
      const last = places[0][1];
      const start = (step) => Number(step.dataset.start);
      [...steps].sort((one, other) => start(one) - start(other)).forEach((step) => last.append(step));
    } else {
      places.forEach(([step, group]) => group.append(step));
    }
  };
  const choose = () => {
    const part = form.find.value.trim().toLowerCase();
    for (const step of steps) {
      const named = step.firstElementChild.querySelector(".name").textContent.toLowerCase();
      step.hidden = (form.path.checked && !step.classList.contains("critical")) || !named.includes(part);
    }
    for (const group of chart.querySelectorAll(".group")) {
      group.hidden = !group.querySelector(".step:not([hidden])");
    }
  };
  form.addEventListener("input", () => {
    arrange();
    choose();
  });
  arrange();
  choose();
})();
