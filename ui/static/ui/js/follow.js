// Follow-scroll: stay at the end while an answer grows, until the person scrolls up.

const NEAR_PX = 48;

/** Set `active` while there is something to follow. */
export class Follower {
  constructor(scroller, button) {
    Object.assign(this, { scroller, button, following: true, last: 0, active: false });
    scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    scroller.addEventListener("wheel", (event) => event.deltaY < 0 && this.letGo(), { passive: true });
    button.addEventListener("click", () => this.toEnd());
  }

  get distance() {
    return this.scroller.scrollHeight - this.scroller.clientHeight - this.scroller.scrollTop;
  }

  /** Call after content changed. */
  grown() {
    if (!this.active) this.button.hidden = true;
    else if (this.following) this.jump();
    else this.show();
  }

  /** Go to the end and follow again. */
  toEnd() {
    this.following = true;
    this.jump();
    this.show();
  }

  jump() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    this.last = this.scroller.scrollTop;
  }

  letGo() {
    if (this.scroller.scrollHeight > this.scroller.clientHeight) this.following = false;
    this.show();
  }

  scrolled() {
    const top = this.scroller.scrollTop;
    const near = this.distance < NEAR_PX;
    if (top < this.last - 2 && !near) this.following = false;
    else if (near) this.following = true;
    this.last = top;
    this.show();
  }

  show() {
    this.button.hidden = !this.active || this.following || this.distance < NEAR_PX * 3;
  }
}
